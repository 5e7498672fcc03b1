package stream

import (
	"net"
	"syscall"
)

// lowWater is how many bytes must have arrived before the kernel wakes a reader of the
// socket (SO_RCVLOWAT). Without it a message that arrives in a thousand segments causes a
// thousand wake-ups, which cost more than its bytes.
type lowWater struct {
	raw syscall.RawConn
	now int
	set func(fd uintptr)
}

// newLowWater returns nil if conn is not a TCP socket.
func newLowWater(conn net.Conn) *lowWater {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	l := &lowWater{raw: raw, now: 1}
	l.set = func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, l.now) }
	return l
}

// await sets the mark to n bytes. If fewer are still to come the reader is never woken.
func (l *lowWater) await(n int) {
	if l == nil || l.now == n {
		return
	}
	l.now = n
	l.raw.Control(l.set)
}
