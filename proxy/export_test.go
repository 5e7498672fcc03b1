package proxy

import (
	"bytes"
	"fmt"
	"net"
	"time"

	"bip324proxy/v1v2"
)

// Redact exports redact for tests that need package hints, which imports this package.
var Redact = redact

// WithReplyTimeout returns in with another nodeReplyTimeout.
func (in Inbound) WithReplyTimeout(d time.Duration) Inbound {
	in.replyTimeout = d
	return in
}

// Pretend makes a server that does not serve show n open sessions on v2. No connection is behind them.
func (s *Server) Pretend(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setup()
	version := append(make([]byte, 80), append([]byte("\x10/Satoshi:31.0.0/"), make([]byte, 5)...)...)
	for range n {
		s.number++
		conn, other := net.Pipe()
		other.Close()
		sess := newSession(s, conn, listener{}, false, s.number)
		sess.shown.State, sess.shown.Transport, sess.shown.Network = StateOpen, "v2", "mainnet"
		sess.shown.Dest = fmt.Sprintf("198.51.%d.%d:8333", s.number>>8&0xff, s.number&0xff)
		sess.shown.SessionID = fmt.Sprintf("%064x", s.number)
		for _, counts := range []*v1v2.Counts{&sess.up, &sess.down} {
			counts.NoteVersion(bytes.Clone(version))
			counts.Add(v1v2.TypeOf("inv"), 61)
		}
		s.add(sess)
	}
}
