// Package dns answers a program's DNS queries for addresses by a function, such as the proxy's
// own lookup. It is for programs that have no other way to resolve names.
package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	maxQuery      = 4096             // bytes; a name has at most 255
	maxConns      = 256              // TCP connections at a time
	receiveBuffer = 4 << 20          // bytes
	ioTimeout     = 10 * time.Second // for the next query of a TCP connection, and for a reply to it
)

// Server answers queries for A and AAAA. Others have an empty answer: programs ask for HTTPS
// or TXT, too, and get along without. Set Lookup before use; a Server must not be copied.
type Server struct {
	// Lookup returns the addresses of name, in lower case and without a dot at its end. It
	// is not called for localhost, and 64 times at once at most. A *net.DNSError with
	// IsNotFound means that there is no such name, a *rules.DeniedError that it is refused.
	// One answer serves all queries for the name within a minute.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

	answers answers
	conns   atomic.Int32
}

// ServeUDP answers the queries that conn receives until conn is closed, and returns why it
// cannot be read. An answer leaves from the address that was asked, on Linux whatever conn is
// bound to. Queries that would wait with too many others are dropped: their clients ask again.
func (s *Server) ServeUDP(conn *net.UDPConn) error {
	if err := receiveAsked(conn); err != nil {
		return err
	}
	conn.SetReadBuffer(receiveBuffer) // or as much as the system allows, for bursts
	b, oob := make([]byte, maxQuery), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			return err
		}
		if q := parse(b[:n]); q != nil {
			asked := replyFrom(oob[:oobn])
			s.answer(q, q.limit(), func(reply []byte) {
				conn.WriteMsgUDPAddrPort(reply, asked, from) // a client whose reply is lost asks again
			})
		}
	}
}

// ServeConn answers the queries on a TCP connection, one after the other, and closes it: when
// the client does, when it sends nothing for 10 seconds, or when ctx ends.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer s.conns.Add(-1)
	if s.conns.Add(1) > maxConns {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for {
		conn.SetDeadline(time.Now().Add(ioTimeout))
		q, err := readQuery(conn)
		if err != nil {
			return
		}
		replies := make(chan []byte, 1)
		if !s.answer(q, maxTCP, func(reply []byte) { replies <- reply }) {
			return
		}
		select {
		case reply := <-replies:
			conn.SetDeadline(time.Now().Add(ioTimeout))
			if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// readQuery reads a query from a TCP connection.
func readQuery(conn net.Conn) (*query, error) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if len(b) > maxQuery {
		return nil, errMalformed
	}
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, err
	}
	q := parse(b)
	if q == nil {
		return nil, errMalformed
	}
	return q, nil
}
