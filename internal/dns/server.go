// Package dns answers a program's DNS queries for addresses with what a function finds, such
// as the proxy's own lookup. It is for programs that have no other way to resolve names.
package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxQuery   = 4096             // bytes; a name has at most 255
	maxPending = 1024             // queries at a time
	maxConns   = 256              // TCP connections at a time
	ioTimeout  = 10 * time.Second // for the next query of a TCP connection, and for a reply to it
)

// Server answers queries for A and AAAA. Others have an empty answer: programs ask for HTTPS
// or TXT, too, and get along without. Set Lookup before use; a Server must not be copied.
type Server struct {
	// Lookup returns the addresses of name, in lower case and without a dot at its end. It
	// is not called for localhost. A *net.DNSError with IsNotFound means that there is no
	// such name, a *rules.DeniedError that it is refused. One answer serves all queries
	// for the name within a minute.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

	init    sync.Once
	pending chan struct{}
	conns   chan struct{}
	answers answers
}

func (s *Server) setup() {
	s.init.Do(func() {
		s.pending, s.conns = make(chan struct{}, maxPending), make(chan struct{}, maxConns)
		s.answers.running = make(chan struct{}, maxLookups)
	})
}

// ServeUDP answers the queries that conn receives until conn is closed, and returns why it
// cannot be read. An answer leaves from the address that was asked, on Linux whatever conn is
// bound to. Queries beyond 1024 that wait for an answer are dropped: their clients ask again.
func (s *Server) ServeUDP(conn *net.UDPConn) error {
	s.setup()
	if err := receiveAsked(conn); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var answering sync.WaitGroup
	defer answering.Wait()
	defer cancel()
	b, oob := make([]byte, maxQuery), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			return err
		}
		q := parse(b[:n])
		if q == nil {
			continue
		}
		select {
		case s.pending <- struct{}{}:
		default:
			continue
		}
		asked := replyFrom(oob[:oobn])
		answering.Go(func() {
			defer func() { <-s.pending }()
			if reply := s.reply(ctx, q, q.limit()); reply != nil {
				conn.WriteMsgUDPAddrPort(reply, asked, from) // a client whose reply is lost asks again
			}
		})
	}
}

// ServeConn answers the queries on a TCP connection, one after the other, and closes it: when
// the client does, when it sends nothing for 10 seconds, or when ctx ends.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	s.setup()
	defer conn.Close()
	select {
	case s.conns <- struct{}{}:
		defer func() { <-s.conns }()
	default:
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for {
		conn.SetDeadline(time.Now().Add(ioTimeout))
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint16(size[:])
		if n > maxQuery {
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			return
		}
		q := parse(b)
		if q == nil {
			return
		}
		reply := s.reply(ctx, q, maxTCP)
		if reply == nil {
			return
		}
		conn.SetDeadline(time.Now().Add(ioTimeout))
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}
