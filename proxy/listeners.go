package proxy

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/plain"
)

// listener is what a listener is for: SOCKS if it has none but an address.
type listener struct {
	address     string                                 // net.Addr.String of the listener
	peer        string                                 // of ServePeer
	node        *Inbound                               // of ServeInbound
	transparent net.Addr                               // of ServeTransparent: the listener's own address
	destination func(net.Conn) (netip.AddrPort, error) // where a connection was meant to go, if transparent
}

// isSOCKS reports whether clients of the listener speak SOCKS.
func (l listener) isSOCKS() bool { return l.peer == "" && l.transparent == nil }

// Serve accepts clients on l until Shutdown, Close or a permanent error. It closes l. The
// error is never nil.
func (s *Server) Serve(l net.Listener) error { return s.ServePeer(l, "") }

// ServePeer is like Serve, but connects all clients to peer, "host:port", without SOCKS.
func (s *Server) ServePeer(l net.Listener, peer string) error {
	return s.serveClients(l, listener{peer: peer})
}

// serveClients accepts clients on l.
func (s *Server) serveClients(l net.Listener, about listener) error {
	public := !listen.IsLocal(l.Addr())
	about.address = l.Addr().String()
	return s.serve(l, about, func(conn net.Conn) (tell func()) { return s.start(conn, about, public) })
}

// serve accepts connections on l and starts a session with each.
func (s *Server) serve(l net.Listener, about listener, start func(net.Conn) (tell func())) error {
	defer l.Close()
	if !s.addListener(l, about) {
		return ErrServerClosed
	}
	defer s.running.Done()
	defer s.removeListener(l)
	var pause time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			if tell := start(conn); tell != nil {
				tell()
			}
			continue
		}
		switch _, stopping := s.Accepting(); {
		case stopping:
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed), listen.IsOver(err):
			return err
		}
		// Out of descriptors, most likely, until sessions end.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		address := l.Addr().String()
		s.logFolded("cannot accept on "+address, slog.LevelError, nil, "cannot accept a connection; trying again",
			"listener", address, "err", plain.Words(err))
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
	}
}

func (s *Server) addListener(l net.Listener, about listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setup()
	if s.stopping {
		return false
	}
	s.listeners[l] = about
	s.running.Add(1)
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// listensOn reports whether connections to addr reach a listener of the server.
func (s *Server) listensOn(addr net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		if listen.Accepts(l.Addr(), addr) {
			return true
		}
	}
	return false
}
