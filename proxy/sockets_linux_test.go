package proxy_test

import (
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// openSockets counts this process's sockets with an address at either end that is mine.
func openSockets(mine func(addr string) bool) (n int) {
	files, _ := os.ReadDir("/proc/self/fd")
	for _, f := range files {
		fd, _ := strconv.Atoi(f.Name())
		local, err := syscall.Getsockname(fd)
		if err != nil {
			continue // not a socket
		}
		remote, _ := syscall.Getpeername(fd)
		if mine(sockaddr(local)) || mine(sockaddr(remote)) {
			n++
		}
	}
	return n
}

func sockaddr(a syscall.Sockaddr) string {
	switch a := a.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)).String()
	case *syscall.SockaddrUnix:
		return a.Name
	}
	return ""
}
