package transparent

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// originalDst is SO_ORIGINAL_DST of IPv4, and IP6T_SO_ORIGINAL_DST of IPv6.
const originalDst = 80

// Supported returns nil.
func Supported() error { return nil }

// The ways that connections reach a listener.
const (
	usual      = "redirect"
	withTPROXY = usual + ",tproxy"
)

// prepare sets IP_TRANSPARENT, which TPROXY demands of a listener: without it, TPROXY drops the
// connections. It needs CAP_NET_ADMIN or CAP_NET_RAW, unless systemd has set it.
func prepare(l syscall.Conn, six bool) (ways string, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return "", err
	}
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if six {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT // one flag for both
	}
	var is int
	failed := raw.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), level, option, 1); err != nil {
			is, err = unix.GetsockoptInt(int(fd), level, option)
		} else {
			is = 1
		}
	})
	switch {
	case failed != nil:
		return "", failed
	case err != nil || is == 0:
		return usual, nil
	}
	return withTPROXY, nil
}

// destination asks connection tracking, which knows a connection that a REDIRECT changed.
// TPROXY changes none: there the local address is the destination.
func destination(conn *net.TCPConn) (dest netip.AddrPort, err error) {
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	raw, err := conn.SyscallConn()
	if err != nil {
		return dest, err
	}
	failed := raw.Control(func(fd uintptr) {
		if local.Addr().Unmap().Is4() {
			dest, err = original4(int(fd))
		} else {
			dest, err = original6(int(fd))
		}
	})
	switch {
	case failed != nil:
		return dest, failed
	case err != nil: // not tracked, or no connection tracking
		return local, nil
	}
	return dest, nil
}

// original4 reads a sockaddr_in into a structure that has room for it.
func original4(fd int) (netip.AddrPort, error) {
	b, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, originalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if binary.NativeEndian.Uint16(b.Multiaddr[:]) != unix.AF_INET {
		return netip.AddrPort{}, unix.EAFNOSUPPORT
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b.Multiaddr[4:8])), binary.BigEndian.Uint16(b.Multiaddr[2:])), nil
}

// original6 reads a sockaddr_in6 into a structure that begins with one.
func original6(fd int) (netip.AddrPort, error) {
	b, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, originalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, b.Addr.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(b.Addr.Addr), port), nil
}
