// bip324-proxy is a local SOCKS5 proxy that gives any Bitcoin client BIP324
// (v2, encrypted) connections to its peers.
package main

import (
	"os"

	"bip324proxy/command"
)

func main() { os.Exit(command.Run(os.Args, os.Stdout, os.Stderr)) }
