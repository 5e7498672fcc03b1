// Package transparent finds where a connection was meant to go that the system redirected to
// this program: by nftables on Linux, by ipfw on FreeBSD.
package transparent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
)

// ErrUnsupported reports a system where the destination of a redirected connection cannot be
// found.
var ErrUnsupported = fmt.Errorf("transparent listeners work on Linux and FreeBSD only, not on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// Destination returns where conn, which a listener accepted, was meant to go. If it was not
// redirected, that is its local address. The address is never IPv4-mapped.
func Destination(conn net.Conn) (netip.AddrPort, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("a redirected connection is TCP, not %T", conn)
	}
	dest, err := destination(tcp)
	return netip.AddrPortFrom(dest.Addr().Unmap(), dest.Port()), err
}

// Prepare makes l take redirected connections in all ways that the system allows this
// process, and returns them. It may be called again. A listener without SyscallConn is left
// as it is.
func Prepare(l net.Listener) (ways string, err error) {
	if err := Supported(); err != nil {
		return "", err
	}
	socket, ok := l.(syscall.Conn)
	addr, isTCP := l.Addr().(*net.TCPAddr)
	if !ok || !isTCP {
		return usual, nil
	}
	return prepare(socket, addr.IP.To4() == nil)
}
