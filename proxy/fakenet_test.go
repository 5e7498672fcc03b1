package proxy_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// fakeNet is the network behind the proxy: a function for each destination plays the peer at the
// other end of a loopback TCP connection.
type fakeNet struct {
	l net.Listener

	mu    sync.Mutex
	peers map[string]func(nc *net.TCPConn, dial int)
	dials map[string]int
	hold  <-chan struct{} // if not nil, dial returns after it is closed
	tap   bool
	taps  map[string][]*tapped

	hanging chan struct{} // closed when hangs.example is dialled

	wg sync.WaitGroup
}

func newFakeNet(t *testing.T) *fakeNet {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &fakeNet{l: l, peers: make(map[string]func(*net.TCPConn, int)),
		dials: make(map[string]int), taps: make(map[string][]*tapped), hanging: make(chan struct{})}
}

// peer makes f play dest. f gets the number of the connection to dest, from 1.
func (n *fakeNet) peer(dest string, f func(nc *net.TCPConn, dial int)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers[dest] = f
}

// dial connects to the peer of that address. Dials are serial, so that the accepted connection is
// the dialled one.
func (n *fakeNet) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if addr == "hangs.example:8333" {
		close(n.hanging)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials[addr]++
	play, dial := n.peers[addr], n.dials[addr]
	if play == nil {
		return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
	}
	ours, err := new(net.Dialer).DialContext(ctx, "tcp", n.l.Addr().String())
	if err != nil {
		return nil, err
	}
	theirs, err := n.l.Accept()
	if err != nil {
		return nil, err
	}
	theirs.SetDeadline(time.Now().Add(patience))
	n.wg.Go(func() {
		defer theirs.Close()
		play(theirs.(*net.TCPConn), dial)
	})
	if n.hold != nil {
		<-n.hold
	}
	if !n.tap {
		return ours, nil
	}
	t := &tapped{Conn: ours}
	n.taps[addr] = append(n.taps[addr], t)
	return t, nil
}

func (n *fakeNet) dialled(dest string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[dest]
}

// sent returns what was sent to dest: one slice of writes per connection. It needs tap.
func (n *fakeNet) sent(dest string) (all [][][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.taps[dest] {
		t.mu.Lock()
		all = append(all, t.writes)
		t.mu.Unlock()
	}
	return all
}

func (n *fakeNet) close() {
	n.l.Close()
	n.wg.Wait()
}

// tapped records every write.
type tapped struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
}

func (c *tapped) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, bytes.Clone(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *tapped) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }
