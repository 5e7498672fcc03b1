//go:build !linux && !windows

package proxy

import (
	"net"
	"syscall"
	"time"
)

// errTimedOut is what the kernel fails a connection with that it has given up.
const errTimedOut = syscall.ETIMEDOUT

// unacknowledged knows nothing here: the system gives up by itself, after ten minutes
// or so.
func unacknowledged(net.Conn) (outstanding bool, lastAck time.Duration) { return false, 0 }
