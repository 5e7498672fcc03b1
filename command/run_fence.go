package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"

	"bip324proxy/internal/netns"
	"bip324proxy/internal/seccomp"
)

// fences are the values of --fence.
var fences = []string{"namespace", "seccomp", "auto"}

// fence takes the connections of COMMAND.
type fence struct {
	redirected []net.Listener // where its TCP connections arrive
	dns        []*net.UDPConn // where its DNS queries arrive
	dnsStreams []net.Listener // and those by TCP; nil if they arrive among redirected
	start      func(path string, args []string) (*os.Process, error)
	dial       func(ctx context.Context, port uint16) (net.Conn, error) // to COMMAND's loopback; nil if that is this machine's
	close      func()
}

// openFence opens the fence of that name.
func openFence(name string, publish bool, log *slog.Logger) (*fence, error) {
	if name == "seccomp" {
		return openSeccomp()
	}
	ns, err := netns.New(netns.Options{Dial: publish})
	switch {
	case err == nil:
		if name == "auto" {
			log.Info("connections are redirected in a network namespace")
		}
		return &fence{redirected: ns.Redirected, dns: ns.DNS, start: ns.Start, dial: ns.Dial, close: func() { ns.Close() }}, nil
	case name != "auto" && errors.As(err, new(*netns.Error)):
		return nil, fmt.Errorf("%w; or write --fence seccomp, which does not stop a program that tries to bypass it", err)
	case name != "auto":
		return nil, err
	}
	log.Warn("no network namespace; connections are redirected by seccomp, which does not stop a program that tries to bypass it", "err", err)
	f, second := openSeccomp()
	if second != nil {
		return nil, fmt.Errorf("%w; %w", err, second)
	}
	return f, nil
}

// startError returns the error of run for a COMMAND that could not be started: an exitError if
// its file, or the interpreter that this names, is the cause.
func startError(name string, err error) error {
	var number syscall.Errno
	switch {
	case errors.As(err, new(*seccomp.UnavailableError)) || !errors.As(err, &number):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &exitError{code: exitNotFound, err: cannotExecute(name, errors.New("the interpreter in its first line, or its dynamic loader, does not exist"))}
	}
	return &exitError{code: exitNotExecutable, err: cannotExecute(name, number)}
}
