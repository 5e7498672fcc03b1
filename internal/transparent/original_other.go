//go:build !linux && !freebsd

package transparent

import (
	"net"
	"net/netip"
)

func destination(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort{}, ErrUnsupported }
