//go:build unix

package stream

import (
	"net"
	"syscall"
)

// Arrived copies to p what has arrived on conn but was not read, leaves it there to be
// read, and returns how much it is. It does not wait.
func Arrived(conn net.Conn, p []byte) (n int) {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = outer.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _, _ = syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT) })
	return max(n, 0)
}
