//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ports are those of Sockets.
type ports struct{ tcp, dns, dnsStream uint16 }

// open opens the sockets.
func (s *Supervisor) open() (err error) {
	if s.ports.dns, s.DNS, err = onLoopback(listenUDP); err != nil {
		return err
	}
	if s.ports.dnsStream, s.DNSStreams, err = onLoopback(listenTCP); err != nil {
		return err
	}
	s.ports.tcp, s.Redirected, err = onLoopback(listenTCP)
	for i, l := range s.Redirected {
		s.Redirected[i] = &redirected{l, s}
	}
	return err
}

// redirected is a listener that knows the destinations of its connections.
type redirected struct {
	net.Listener
	supervisor *Supervisor
}

// Destination returns what Supervisor.Destination does.
func (r *redirected) Destination(conn net.Conn) (netip.AddrPort, error) {
	return r.supervisor.Destination(conn)
}

func listenTCP(addr netip.AddrPort) (net.Listener, uint16, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, 0, err
	}
	return l, l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}

func listenUDP(addr netip.AddrPort) (*net.UDPConn, uint16, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, 0, err
	}
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}

// onLoopback listens on a port that is free at 127.0.0.1 and ::1.
func onLoopback[L interface{ Close() error }](listen func(netip.AddrPort) (L, uint16, error)) (uint16, []L, error) {
	for {
		four, port, err := listen(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
		if err != nil {
			return 0, nil, err
		}
		six, _, err := listen(netip.AddrPortFrom(netip.IPv6Loopback(), port))
		switch {
		case err == nil:
			return port, []L{four, six}, nil
		case errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT): // no IPv6
			return port, []L{four}, nil
		case !errors.Is(err, unix.EADDRINUSE):
			four.Close()
			return 0, nil, err
		}
		defer four.Close() // only then, so that another port is tried
	}
}

// close closes the sockets.
func (s *Sockets) close() {
	for _, l := range append(s.Redirected, s.DNSStreams...) {
		l.Close()
	}
	for _, c := range s.DNS {
		c.Close()
	}
}
