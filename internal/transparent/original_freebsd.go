package transparent

import (
	"net"
	"net/netip"
	"syscall"
)

// Supported returns nil.
func Supported() error { return nil }

// destination returns the local address, which ipfw's fwd leaves as it was.
func destination(conn *net.TCPConn) (netip.AddrPort, error) {
	return conn.LocalAddr().(*net.TCPAddr).AddrPort(), nil
}

// usual is the way that connections reach a listener.
const usual = "ipfw fwd"

// prepare has nothing to do.
func prepare(syscall.Conn, bool) (ways string, err error) { return usual, nil }
