package inbound

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// prepareBind sets a socket's options before it is bound to an address of a Source.
func prepareBind(network string, raw syscall.RawConn) (err error) {
	if e := raw.Control(func(fd uintptr) {
		// The port is chosen when the destination is known, so that each destination has all.
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err == nil && network == "tcp6" { // an AnyIP route, which is enough for IPv4, is not for IPv6
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		}
	}); e != nil {
		return e
	}
	return err
}
