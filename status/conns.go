package status

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxServed is how many requests are answered at a time, but for health checks, which
// cost nothing. The other connections wait, for a request or for their turn, and give
// way to new ones.
const maxServed = MaxConns - 4

// turnTimeout is how long a request waits for its turn before one that is served gives
// way: answers are quick unless they are not taken.
const turnTimeout = 2 * time.Second

// conns are the open connections. A new one beyond MaxConns closes the one that has
// waited longest without being served, so nobody shuts the page by holding connections.
type conns struct {
	turns chan struct{} // of requests that are served

	mu   sync.Mutex
	open []*conn // the one that has waited longest first
}

func newConns() *conns { return &conns{turns: make(chan struct{}, maxServed)} }

// conn is one connection; served is guarded by conns.mu.
type conn struct {
	net.Conn
	served bool // a request has its turn
}

// closeServed closes the connection that has not taken its answer for the longest time.
func (cs *conns) closeServed() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if i := slices.IndexFunc(cs.open, func(c *conn) bool { return c.served }); i >= 0 {
		c := cs.open[i]
		c.Close()
		cs.open = append(slices.Delete(cs.open, i, i+1), c) // until it has ended
	}
}

// connKey is the context key of a request's *conn.
type connKey struct{}

// listener accepts connections for conns.
type listener struct {
	net.Listener
	conns *conns
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.conns.add(c), nil
}

func (cs *conns) add(c net.Conn) *conn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.open) >= MaxConns {
		i := slices.IndexFunc(cs.open, func(c *conn) bool { return !c.served }) // maxServed leaves some
		cs.open[i].Close()
		cs.open = slices.Delete(cs.open, i, i+1)
	}
	added := &conn{Conn: c}
	cs.open = append(cs.open, added)
	return added
}

// context is http.Server's ConnContext.
func (cs *conns) context(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// state is http.Server's ConnState: an answer has been sent, or the connection is over.
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

// inTurn serves requests with h, maxServed at a time. A turn ends when the answer has
// been sent.
func (cs *conns) inTurn(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok && !cs.serve(r.Context(), c) {
			return // the connection is closed: it had to give way, or its client has left
		}
		h(w, r)
	}
}

// serve waits for c's turn and reports whether that has come.
func (cs *conns) serve(ctx context.Context, c *conn) bool {
	for turn := false; !turn; {
		select {
		case cs.turns <- struct{}{}:
			turn = true
		case <-time.After(turnTimeout):
			cs.closeServed()
		case <-ctx.Done():
			return false
		}
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.served = slices.Contains(cs.open, c)
	if !c.served {
		<-cs.turns
	}
	return c.served
}
