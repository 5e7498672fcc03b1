package dial

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// HasInterfaces reports whether ThroughInterface works on this system.
const HasInterfaces = true

// ThroughInterface binds a socket to the interface of that name. Linux before 5.7 requires the
// capability CAP_NET_RAW.
func ThroughInterface(socket syscall.RawConn, _, name string) error {
	var set error
	err := socket.Control(func(fd uintptr) { set = unix.BindToDevice(int(fd), name) })
	return errors.Join(err, set)
}
