//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a duplicate of a socket of the command.
type socket int

func (s socket) close() { unix.Close(int(s)) }

func (s socket) option(name int) (int, error) {
	return unix.GetsockoptInt(int(s), unix.SOL_SOCKET, name)
}

// stream reports whether it is a TCP or MPTCP socket, among those of IPv4 and IPv6.
func (s socket) stream() bool {
	kind, err := s.option(unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

// boundToDevice reports whether packets leave through a certain interface other than
// loopback, even to an address on loopback.
func (s socket) boundToDevice() bool {
	device, err := unix.GetsockoptString(int(s), unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	return err != nil || device != "" && device != "lo"
}

// cookie returns the kernel's number for the socket, which is not reused.
func (s socket) cookie() uint64 {
	cookie, _ := unix.GetsockoptUint64(int(s), unix.SOL_SOCKET, unix.SO_COOKIE)
	return cookie
}

// local returns the address of the socket.
func (s socket) local() (netip.AddrPort, bool) {
	addr, err := unix.Getsockname(int(s))
	if err != nil {
		return netip.AddrPort{}, false
	}
	switch addr := addr.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(addr.Addr), uint16(addr.Port)), true
	case *unix.SockaddrInet6:
		return unmap(netip.AddrPortFrom(netip.AddrFrom16(addr.Addr), uint16(addr.Port))), true
	}
	return netip.AddrPort{}, false
}

func (s socket) connect(to sockaddr) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(s), uintptr(unsafe.Pointer(&to[0])), uintptr(len(to)))
	return errno
}

func (s socket) sendto(data []byte, flags int, to sockaddr) (int, unix.Errno) {
	sent, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)),
		uintptr(flags), uintptr(unsafe.Pointer(&to[0])), uintptr(len(to)))
	return int(sent), errno
}

// sockaddr is a struct sockaddr as the program gave it.
type sockaddr []byte

// sockaddr reads an address of the program.
func (c *call) sockaddr(address, length uint64) (sockaddr, unix.Errno) {
	n := int(int32(length))
	if n < 2 || n > 128 { // struct sockaddr_storage
		return nil, unix.EINVAL
	}
	b, errno := c.read(address, n)
	return b, errno
}

func (a sockaddr) family() uint16 { return binary.NativeEndian.Uint16(a) }

// addrPort returns the address, IPv4 in IPv6 as IPv4, and false if it is neither IPv4 nor
// IPv6 or too short.
func (a sockaddr) addrPort() (netip.AddrPort, bool) {
	switch {
	case a.family() == unix.AF_INET && len(a) >= unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), binary.BigEndian.Uint16(a[2:])), true
	case a.family() == unix.AF_INET6 && len(a) >= unix.SizeofSockaddrInet6-4: // without sin6_scope_id
		return unmap(netip.AddrPortFrom(netip.AddrFrom16([16]byte(a[8:24])), binary.BigEndian.Uint16(a[2:]))), true
	}
	return netip.AddrPort{}, false
}

// onLoopback returns the address with loopback's of its kind, and port.
func (a sockaddr) onLoopback(port uint16) sockaddr {
	var to sockaddr
	if a.family() == unix.AF_INET {
		to = make(sockaddr, unix.SizeofSockaddrInet4)
		copy(to[4:], []byte{127, 0, 0, 1})
	} else {
		to = make(sockaddr, unix.SizeofSockaddrInet6)
		loopback := netip.IPv6Loopback().As16()
		if netip.AddrFrom16([16]byte(a[8:24])).Is4In6() {
			loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1}).As16()
		}
		copy(to[8:], loopback[:])
	}
	copy(to, a[:2])
	binary.BigEndian.PutUint16(to[2:], port)
	return to
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
