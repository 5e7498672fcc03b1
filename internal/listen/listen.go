// Package listen has the forms of address that a program listens on, HOST:PORT and
// unix:/PATH, and opens listeners there, those of systemd's socket activation included.
package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"

	"bip324proxy/internal/errno"
)

// SpecError is a listener that was asked for in words that name none.
type SpecError struct {
	Spec string
	Why  string

	option bool // one of a socket is wrong, and Why says what to do
}

func (e *SpecError) Error() string {
	if e.option {
		return fmt.Sprintf("%q %s", e.Spec, e.Why)
	}
	return fmt.Sprintf("%q %s; write HOST:PORT, with 127.0.0.1 or [::1] for this machine alone, or unix:/PATH", e.Spec, e.Why)
}

// Check returns a *SpecError if spec is not of a form that Open takes. It
// opens nothing and looks up no name.
func Check(spec string) error {
	if _, ok, err := ParseSocket(spec); ok {
		return err
	}
	host, port, err := net.SplitHostPort(spec)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		return &SpecError{Spec: spec, Why: "is no address"}
	}
	return nil
}

// Open opens a listener at spec: HOST:PORT, or unix:/PATH for a socket that only this
// user may use, or those that the Socket has it for. The error is a *SpecError if spec
// is at fault.
func Open(spec string) (net.Listener, error) {
	if err := Check(spec); err != nil {
		return nil, err
	}
	if socket, ok, _ := ParseSocket(spec); ok {
		return listenUnix(socket)
	}
	network := "tcp"
	if addr, err := netip.ParseAddrPort(spec); err == nil && addr.Addr().Is4() {
		network = "tcp4" // 0.0.0.0 is no wish for IPv6
	}
	l, err := net.Listen(network, spec)
	if errors.As(err, new(*net.DNSError)) {
		return nil, &SpecError{Spec: spec, Why: "is on no host that is known here"}
	}
	return l, err
}

// IsNoAddress reports whether err, of Open, says that this machine does not have the
// address, or no address of its family, as where IPv6 is switched off.
func IsNoAddress(err error) bool {
	return errno.Is(err, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, syscall.EPROTONOSUPPORT)
}

// IsOver reports whether err, of Accept, is permanent: the descriptor is not a listener's.
func IsOver(err error) bool {
	return errno.Is(err, syscall.EBADF, syscall.ENOTSOCK, syscall.EOPNOTSUPP) ||
		runtime.GOOS == "linux" && errno.Is(err, syscall.EINVAL) // the socket does not listen
}

// IsLocal says whether only programs on this machine can reach a listener at
// addr.
func IsLocal(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}
