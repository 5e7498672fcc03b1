package dial

import (
	"errors"
	"net"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// HasInterfaces reports whether ThroughInterface works on this system.
const HasInterfaces = true

// ThroughInterface binds a socket, whose network is one such as tcp4, to the interface of that name.
func ThroughInterface(socket syscall.RawConn, network, name string) error {
	on, err := net.InterfaceByName(name)
	if err != nil {
		return syscall.ENODEV
	}
	level, option := unix.IPPROTO_IP, unix.IP_BOUND_IF
	if strings.HasSuffix(network, "6") {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF
	}
	var set error
	err = socket.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, on.Index) })
	return errors.Join(err, set)
}
