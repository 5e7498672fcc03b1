// Package listen parses the addresses that a program listens on, HOST:PORT and
// unix:/PATH, and opens listeners there, those of systemd's socket activation included.
package listen

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"bip324proxy/internal/errno"
)

// Open opens a listener at spec (see Parse). A socket file is accessible to this user
// only, unless spec says otherwise. The error is a *SpecError if spec is at fault.
func Open(spec string) (net.Listener, error) {
	address, err := Parse(spec)
	if err != nil {
		return nil, err
	}
	if address.Network == "unix" {
		return listenUnix(spec, address)
	}
	network := "tcp"
	if addr, err := netip.ParseAddrPort(spec); err == nil && addr.Addr().Is4() {
		network = "tcp4" // 0.0.0.0 does not include IPv6
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false) // the system does not tell where such a connection was redirected from
	l, err := config.Listen(context.Background(), network, spec)
	if errors.As(err, new(*net.DNSError)) {
		return nil, &SpecError{spec, "has an unknown host" + forms}
	}
	return l, err
}

// ActivatedListener is a listener from systemd, and its name there: that of
// FileDescriptorName=, by default the .socket unit's.
type ActivatedListener struct {
	net.Listener
	Name string
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
