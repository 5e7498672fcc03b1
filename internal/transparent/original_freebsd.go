package transparent

import (
	"net"
	"net/netip"
)

// destination returns the local address, which ipfw's fwd leaves as it was.
func destination(conn *net.TCPConn) (netip.AddrPort, error) {
	return conn.LocalAddr().(*net.TCPAddr).AddrPort(), nil
}
