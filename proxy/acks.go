package proxy

import (
	"net"
	"time"

	"bip324proxy/v1v2"
)

// errUnacknowledged reports an end that acknowledges nothing of what is sent to it.
const errUnacknowledged = plainError("it does not acknowledge data")

// watchAcks fails sessions of which an end has acknowledged nothing for AckTimeout while
// data is on the way to it: the host or the path to it is gone. The kernel times out
// after a quarter of an hour or so. TCP_USER_TIMEOUT would shorten that, but would also
// hit an end that lives and takes nothing for a while: on Linux it counts while the window
// is closed, although every probe is acknowledged.
//
// watchAcks runs every third of AckTimeout while there are sessions.
func (s *Server) watchAcks() {
	now := time.Now()
	stuck := make(map[net.Conn]time.Time)
	var conns []net.Conn
	for _, sess := range s.allLive() {
		conns = sess.appendConns(conns[:0])
		for _, c := range conns {
			outstanding, lastAck := unacknowledged(c)
			if !outstanding {
				continue
			}
			since, known := s.stuck[c]
			if !known || lastAck < now.Sub(since) {
				since = now
			}
			stuck[c] = since
			if now.Sub(since) >= s.ackTimeout() {
				side := v1v2.PeerSide
				if sess.isClient(c) {
					side = v1v2.ClientSide
				}
				sess.fail(&v1v2.EndError{Side: side, Err: errUnacknowledged})
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck = stuck
	if len(s.live) == 0 {
		s.acks = nil
		return
	}
	s.acks.Reset(s.ackTimeout() / 3)
}
