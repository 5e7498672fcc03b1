// bip324-proxy is a local SOCKS5 proxy that gives any Bitcoin client BIP324
// (v2, encrypted) connections to its peers.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// usageError is input that was wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run is the program: its exit code is 0, 1 if something failed, or 2 if the
// input was wrong.
func run(args []string, stdout, stderr io.Writer) int {
	err := newApp(stdout, stderr).Run(args)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "bip324-proxy: %v\n", err)
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}
