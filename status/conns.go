package status

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxServed is the maximum number of requests served at once, not counting health checks, which
// cost nothing. Other connections wait, for a request or for their turn, and may be evicted.
const maxServed = MaxConns - 4

// turnTimeout is how long a request waits for its turn before it evicts a connection that is being
// served: answers are quick unless the client does not read them.
const turnTimeout = 2 * time.Second

// socksInterval is the minimum time between reports of clients that speak SOCKS.
const socksInterval = time.Minute

// conns are the open connections. A new one beyond MaxConns evicts the one that has been idle
// longest, so that idle connections cannot keep others out.
type conns struct {
	turns   chan struct{}         // a semaphore: one for each request being served
	onSOCKS func(client net.Addr) // called for a connection that begins like SOCKS

	mu          sync.Mutex
	open        []*conn // the one that has been idle longest first
	misdirected *Misdirected
}

// newConns returns an empty set. onSOCKS, if not nil, is called for a client that speaks
// SOCKS, at most once in socksInterval.
func newConns(onSOCKS func(client net.Addr)) *conns {
	seldom := rate.Sometimes{Interval: socksInterval}
	cs := &conns{turns: make(chan struct{}, maxServed)}
	cs.onSOCKS = func(client net.Addr) {
		cs.noteMisdirected(client)
		if onSOCKS != nil {
			seldom.Do(func() { onSOCKS(client) })
		}
	}
	return cs
}

// conn is a connection; served is guarded by conns.mu.
type conn struct {
	net.Conn
	conns  *conns
	served bool // a request on it has its turn
	begun  bool // its first byte was read, by the one goroutine that reads
}

// notSOCKS is the answer to a client that speaks SOCKS.
const notSOCKS = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthis is a status page, not a SOCKS proxy\n"

// Read answers and ends a connection whose first byte is 4 or 5, the version of SOCKS. No HTTP
// request begins with these, and the server would wait for the end of a line.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.begun {
		c.begun = true
		if p[0] == 4 || p[0] == 5 {
			c.conns.onSOCKS(c.RemoteAddr())
			c.SetWriteDeadline(time.Now().Add(time.Second))
			io.WriteString(c.Conn, notSOCKS)
			return 0, io.EOF
		}
	}
	return n, err
}

// evict closes the connection that has been idle, or served, longest. conns.mu is held.
func (cs *conns) evict(served bool) {
	if i := slices.IndexFunc(cs.open, func(c *conn) bool { return c.served == served }); i >= 0 {
		cs.open[i].Close()
		cs.open = slices.Delete(cs.open, i, i+1)
	}
}

// connKey is the context key of a request's *conn.
type connKey struct{}

// listener adds the connections that it accepts to conns.
type listener struct {
	net.Listener
	conns *conns
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.conns.mu.Lock()
	defer l.conns.mu.Unlock()
	if len(l.conns.open) >= MaxConns {
		l.conns.evict(false) // maxServed leaves some
	}
	added := &conn{Conn: c, conns: l.conns}
	l.conns.open = append(l.conns.open, added)
	return added, nil
}

// state implements http.Server.ConnState: it ends a turn, and forgets closed connections.
func (cs *conns) state(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	if !ok || state != http.StateIdle && state != http.StateClosed {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.served {
		c.served = false
		<-cs.turns
	}
	if i := slices.Index(cs.open, c); i >= 0 {
		cs.open = slices.Delete(cs.open, i, i+1)
		if state == http.StateIdle {
			cs.open = append(cs.open, c)
		}
	}
}

// inTurn returns a handler that serves requests with h, at most maxServed at once. A turn ends when
// the answer has been sent.
func (cs *conns) inTurn(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok && !cs.serve(r.Context(), c) {
			return // the connection was evicted, or the client has left
		}
		h(w, r)
	}
}

// serve waits for c's turn, and reports whether it came before c was closed.
func (cs *conns) serve(ctx context.Context, c *conn) bool {
	for {
		select {
		case cs.turns <- struct{}{}:
			cs.mu.Lock()
			defer cs.mu.Unlock()
			if c.served = slices.Contains(cs.open, c); !c.served {
				<-cs.turns
			}
			return c.served
		case <-time.After(turnTimeout):
			cs.mu.Lock()
			cs.evict(true)
			cs.mu.Unlock()
		case <-ctx.Done():
			return false
		}
	}
}
