package proxy

import (
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"bip324proxy/internal/dns"
	"bip324proxy/internal/listen"
	"bip324proxy/internal/transparent"
	"bip324proxy/socks"
)

// ProbeAddr6 is like ProbeAddr, in the documentation prefix of IPv6 (RFC 3849).
var ProbeAddr6 = netip.MustParseAddr("2001:db8::1")

// TransparentAnswer is what a program that connects to ProbeAddr or ProbeAddr6, at any port,
// receives from this proxy if the system redirects it to a transparent listener.
const TransparentAnswer = "bip324-proxy: redirected\n"

const (
	errNotRedirected = plainError("the connection was not redirected: the client connected to the transparent listener itself, which cannot know its destination")
	errForgottenName = plainError("the address stood for a name in an earlier run of the proxy; the client must look the name up again")
	errOnlyLooked    = plainError("the client only looked whether the port is open")
	errRedirectLoop  = plainError("the system redirects the proxy's own connections back to it")
)

// Redirector is a listener that knows where the connections that it has accepted were meant to
// go. Destination is called once for each.
type Redirector interface {
	net.Listener
	Destination(conn net.Conn) (netip.AddrPort, error)
}

// ServeTransparent is like Serve, but without SOCKS: the system redirects connections to l,
// and they go where they were meant to go, which the system tells unless l is a Redirector. It
// works on Linux and FreeBSD. On Linux it sets IP_TRANSPARENT, for TPROXY, if the process may. A
// listener for Multipath TCP, which is net.Listen's default, knows no destination of clients that
// use it: open l with a net.ListenConfig after SetMultipathTCP(false).
func (s *Server) ServeTransparent(l net.Listener) error {
	destination := transparent.Destination
	if r, ok := l.(Redirector); ok {
		destination = r.Destination
	} else if _, err := transparent.Prepare(l); err != nil {
		l.Close()
		return err
	}
	s.dials.Start()
	return s.serveClients(l, listener{transparent: l.Addr(), destination: destination})
}

// askSystem returns the request of a client that was redirected.
func (s *session) askSystem() (*socks.Request, error) {
	dest, err := s.about.destination(s.client.Conn)
	if err != nil {
		return nil, err
	}
	ip := dest.Addr()
	from, _ := s.client.RemoteAddr().(*net.TCPAddr)
	switch {
	case ip == ProbeAddr || ip == ProbeAddr6:
		s.endsInOrder()
		io.WriteString(s.client, TransparentAnswer)
		s.linger(rejectLinger)
		return nil, errProbe
	case listen.Accepts(s.about.transparent, net.TCPAddrFromAddrPort(dest)), s.server.listensOn(net.TCPAddrFromAddrPort(dest)):
		return nil, s.notRedirected() // the first is known while the server stops, too
	case from != nil && s.server.dials.Has(from.AddrPort(), dest):
		return nil, errRedirectLoop
	}
	if name, ok := s.server.names.Name(ip); ok {
		to, err := socks.ParseAddr(net.JoinHostPort(name, strconv.Itoa(int(dest.Port()))))
		return &socks.Request{Command: socks.CommandConnect, Dest: to}, err
	}
	if dns.Pool.Contains(ip) { // on the internet nobody has it
		return nil, errForgottenName
	}
	to, err := socks.ParseAddr(dest.String()) // TCP has a port 0, which rules take for any
	return &socks.Request{Command: socks.CommandConnect, Dest: to}, err
}

// notRedirected returns why a client that was not redirected is refused. One that leaves at
// once, such as a health check, does not count.
func (s *session) notRedirected() error {
	s.client.SetReadDeadline(time.Now().Add(authTimeout))
	if _, err := s.in.Peek(1); err == io.EOF {
		return errOnlyLooked
	}
	return errNotRedirected
}

// resetOnClose sets whether closing a connection resets it. The client of a transparent
// listener is connected before its destination is; a reset tells it that this failed.
func resetOnClose(conn net.Conn, reset bool) {
	linger := -1
	if reset {
		linger = 0
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(linger)
	}
}

// endsInOrder makes the client of a transparent listener see the end of the stream from now
// on, not a reset, which could overtake data.
func (s *session) endsInOrder() {
	if s.about.transparent != nil {
		resetOnClose(s.client.Conn, false)
	}
}
