package proxy

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/plain"
)

// listener is what a listener is for: SOCKS if it has neither.
type listener struct {
	peer string   // of ServePeer
	node *Inbound // of ServeInbound
}

// Serve accepts clients on l until Shutdown, Close or a permanent error. It closes l. The
// error is never nil.
func (s *Server) Serve(l net.Listener) error { return s.ServePeer(l, "") }

// ServePeer is like Serve, but connects all clients to peer, "host:port", without SOCKS.
func (s *Server) ServePeer(l net.Listener, peer string) error {
	public := !listen.IsLocal(l.Addr())
	return s.serve(l, listener{peer: peer}, func(conn net.Conn) (tell func()) { return s.start(conn, peer, public) })
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

// listensOn reports whether the server listens on addr.
func (s *Server) listensOn(addr net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		if l.Addr().String() == addr.String() || onAllAddresses(l.Addr(), addr) {
			return true
		}
	}
	return false
}

// listensAt reports whether the server listens on the unix socket at path, under this name
// or another.
func (s *Server) listensAt(path string) bool {
	socket, err := os.Stat(path)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		if a, ok := l.Addr().(*net.UnixAddr); ok {
			if own, err := os.Stat(a.Name); err == nil && os.SameFile(own, socket) {
				return true
			}
		}
	}
	return false
}

// onAllAddresses reports whether l is the unspecified address and addr one of this host.
func onAllAddresses(l, addr net.Addr) bool {
	all, ok1 := l.(*net.TCPAddr)
	one, ok2 := addr.(*net.TCPAddr)
	if !ok1 || !ok2 || !all.IP.IsUnspecified() || all.Port != one.Port {
		return false
	}
	if one.IP.IsLoopback() || one.IP.IsUnspecified() {
		return true
	}
	own, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(one.IP)
	})
}
