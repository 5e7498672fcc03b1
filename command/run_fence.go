package command

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"

	"bip324proxy/internal/netns"
	"bip324proxy/internal/transparent"
)

// fences are the values of --fence.
var fences = []string{"namespace", "seccomp", "auto"}

// fence takes the connections of COMMAND.
type fence struct {
	redirected  []net.Listener // where its TCP connections arrive
	dns         []*net.UDPConn // where its queries of DNS arrive
	destination func(net.Conn) (netip.AddrPort, error)
	start       func(path string, args []string) (*os.Process, error)
	dial        func(ctx context.Context, port uint16) (net.Conn, error) // to COMMAND's loopback; nil if that is this machine's
	close       func()
}

// openFence opens the fence of that name; dial is whether its dial is needed.
func openFence(name string, dial bool, log *slog.Logger) (*fence, error) {
	if name == "seccomp" {
		return openSeccomp()
	}
	f, err := openNamespace(dial)
	if err == nil || name != "auto" {
		return f, err
	}
	f, second := openSeccomp()
	if second != nil {
		return nil, errors.Join(err, second)
	}
	log.Warn("no network namespace, so connections are redirected by seccomp, which is no fence: see bip324-proxy help run", "err", err)
	return f, nil
}

func openNamespace(dial bool) (*fence, error) {
	ns, err := netns.New(netns.Options{Dial: dial})
	if err != nil {
		return nil, err
	}
	return &fence{
		redirected:  ns.Redirected,
		dns:         ns.DNS,
		destination: transparent.Destination,
		start: func(path string, args []string) (*os.Process, error) {
			process, err := ns.Start(path, args)
			return process, startError(args[0], err)
		},
		dial:  ns.Dial,
		close: func() { ns.Close() },
	}, nil
}

// openSeccomp is where internal/seccomp will be.
func openSeccomp() (*fence, error) {
	return nil, errors.New("--fence: seccomp is not available yet; write --fence namespace")
}

// startError returns the error with which run ends if COMMAND could not be executed because of
// err: its file, or the interpreter that this names, is not what it should be.
func startError(name string, err error) error {
	var number syscall.Errno
	switch {
	case err == nil || !errors.As(err, &number):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &exitError{code: exitNotFound, err: cannotExecute(name, errors.New("the interpreter in its first line, or its dynamic loader, does not exist"))}
	}
	return &exitError{code: exitNotExecutable, err: cannotExecute(name, number)}
}
