package proxy

import (
	"net"
	"syscall"
	"time"
)

// errTimedOut is what Winsock fails a connection with that it has given up,
// WSAETIMEDOUT: syscall's own ETIMEDOUT is an invention.
const errTimedOut = syscall.Errno(10060)

// unacknowledged knows nothing here: Windows gives up by itself, within a minute.
func unacknowledged(net.Conn) (outstanding bool, lastAck time.Duration) { return false, 0 }
