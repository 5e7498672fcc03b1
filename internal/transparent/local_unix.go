//go:build linux || freebsd

package transparent

import (
	"errors"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// localAddr returns the local address of a socket.
func localAddr(socket syscall.RawConn) (addr netip.AddrPort, err error) {
	var sa unix.Sockaddr
	if closed := socket.Control(func(fd uintptr) { sa, err = unix.Getsockname(int(fd)) }); closed != nil {
		return addr, closed
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), err
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), err
	}
	return addr, errors.Join(err, errors.ErrUnsupported)
}
