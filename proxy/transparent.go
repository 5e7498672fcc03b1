package proxy

import (
	"net"

	"bip324proxy/internal/transparent"
	"bip324proxy/socks"
)

// errNotRedirected reports a connection to a transparent listener itself.
const errNotRedirected = plainError("the connection was not redirected to this transparent listener; it leads nowhere")

// ServeTransparent is like Serve, but without SOCKS: the system redirects connections to l,
// and they go where they were meant to go. It works on Linux and FreeBSD.
func (s *Server) ServeTransparent(l net.Listener) error {
	return s.serveClients(l, listener{transparent: true})
}

// askSystem returns the request of a client that was redirected.
func (s *session) askSystem() (*socks.Request, error) {
	dest, err := transparent.Destination(s.client.Conn)
	switch {
	case err != nil:
		return nil, err
	case s.server.listensOn(net.TCPAddrFromAddrPort(dest)):
		return nil, errNotRedirected
	}
	ip := dest.Addr()
	if name, ok := s.server.names.Name(ip); ok {
		return &socks.Request{Command: socks.CommandConnect, Dest: socks.Addr{Host: name, Port: dest.Port()}}, nil
	}
	return &socks.Request{Command: socks.CommandConnect, Dest: socks.Addr{Host: ip.String(), IP: ip, Port: dest.Port()}}, nil
}

// resetClient makes the client, which was connected before its destination was, see a reset
// when its connection is closed.
func (s *session) resetClient() {
	if tcp, ok := s.client.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
}
