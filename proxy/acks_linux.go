package proxy

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unacknowledged reports whether data or a probe of a closed window that was sent on c is
// not acknowledged yet, and how long ago the last acknowledgement came.
func unacknowledged(c net.Conn) (outstanding bool, lastAck time.Duration) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false, 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false, 0
	}
	raw.Control(func(fd uintptr) {
		// Nearly all sockets are idle, which is cheaper to find out.
		if queued, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil && queued == 0 {
			return
		}
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			outstanding = info.Unacked > 0 || info.Probes > 0
			lastAck = time.Duration(info.Last_ack_recv) * time.Millisecond
		}
	})
	return outstanding, lastAck
}
