package listen

import (
	"net"
	"os"
	"slices"
)

// Accepts reports whether connections to addr reach a listener at l: they are the same address,
// l is all addresses and addr one of this host, addr is unspecified and l on loopback, or
// both name the same socket file.
func Accepts(l, addr net.Addr) bool {
	switch l := l.(type) {
	case *net.TCPAddr:
		addr, ok := addr.(*net.TCPAddr)
		return ok && l.Port == addr.Port && (l.IP.Equal(addr.IP) || l.IP.IsLoopback() && addr.IP.IsUnspecified() ||
			l.IP.IsUnspecified() && isOwn(addr.IP, l.IP.To4() == nil))
	case *net.UnixAddr:
		addr, ok := addr.(*net.UnixAddr)
		return ok && (l.Name == addr.Name || isSameFile(l.Name, addr.Name))
	}
	return false
}

// isOwn reports whether ip is this host's, and IPv4 unless six is allowed.
func isOwn(ip net.IP, six bool) bool {
	switch {
	case ip.To4() == nil && !six:
		return false
	case ip.IsLoopback(), ip.IsUnspecified():
		return true
	}
	own, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

func isSameFile(a, b string) bool {
	one, err1 := os.Stat(a)
	other, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}
