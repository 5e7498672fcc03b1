package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// nodeAgent is the part of the node's VERSION that must never be readable at the peers' side.
const nodeAgent = "/clear-text-node:1/"

// lobby is the program with a listener for peers, and the played node behind it. The node answers a VERSION with its own,
// and reads to the end.
type lobby struct {
	*under
	inbound string
	node    net.Listener
	pace    <-chan time.Time // the program takes 100 connections a second

	mu    sync.Mutex
	all   sync.WaitGroup
	conns int
	got   map[string][]message // by the first message, as its peer sent it
	ends  map[int]bool         // the sessions that endOf has returned
	more  chan struct{}        // closed when a connection has ended
}

func startLobby(t *testing.T, flags ...string) *lobby {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(12 * time.Millisecond)
	t.Cleanup(tick.Stop)
	b := &lobby{node: l, pace: tick.C, got: make(map[string][]message), ends: make(map[int]bool), more: make(chan struct{})}
	b.all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			b.all.Go(func() { b.serve(nc.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.all.Wait()
	})
	b.under = startUnder(t, slices.Concat(inboundFlags(l.Addr().String(), "mainnet"), flags)...)
	b.inbound = (&proxy{program: b.program}).await(t, "listening for peers", func(e event) bool { return e.Msg == "listening" && e.Inbound }).Addr
	return b
}

func (b *lobby) serve(nc *net.TCPConn) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	b.mu.Lock()
	b.conns++
	b.mu.Unlock()
	name, payload, err := hostile.ReadV1(nc)
	if err != nil {
		return
	}
	nc.Write(hostile.V1("version", hostile.Version(nodeAgent)))
	rest, _ := readAll(nc)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got[string(payload)] = append([]message{{name, payload}}, rest...)
	close(b.more)
	b.more = make(chan struct{})
}

// received waits until the session that began with a message has ended, and returns what the node got in it.
func (b *lobby) received(t *testing.T, first message) []message {
	t.Helper()
	for timeout := time.After(patience); ; {
		b.mu.Lock()
		got, more := b.got[string(first.payload)], b.more
		b.mu.Unlock()
		if got != nil {
			return got
		}
		select {
		case <-more:
		case <-timeout:
			t.Errorf("the node has no session that begins with %v", first)
			return nil
		}
	}
}

// visits counts the node's connections so far.
func (b *lobby) visits() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conns
}

// call connects a peer to the program, with what it reads recorded.
func (b *lobby) call(t *testing.T) *overheard {
	t.Helper()
	<-b.pace
	began := time.Now()
	nc, err := hostile.Dial(b.inbound, patience)
	if err != nil {
		t.Fatal(err)
	}
	return &overheard{TCPConn: nc, began: began}
}

// overheard is a peer's connection that keeps what was read.
type overheard struct {
	*net.TCPConn
	began time.Time
	read  []byte
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.TCPConn.Read(p)
	o.read = append(o.read, p[:n]...)
	return n, err
}

// end hangs up and reads to the end; it fails the test if the program keeps the connection, or has sent plaintext.
func (o *overheard) end(t *testing.T, name string) {
	t.Helper()
	o.CloseWrite()
	if endOf(o) == open {
		t.Errorf("%s: the program keeps the connection", name)
	}
	o.Close()
	for _, clear := range []string{"version\x00\x00", nodeAgent, string(mainnetMagic[:]) + "ver"} {
		if bytes.Contains(o.read, []byte(clear)) {
			t.Errorf("%s: the peer read %q in plaintext", name, clear)
		}
	}
}

// comingIn returns a case of a peer that is dialled as one of a peer that comes in, and what the node gets. Its packet of
// number 1 is its VERSION.
func (c peerCase) comingIn(first message) (in peerCase, node []message) {
	in = c
	in.sends = append([]message{first}, c.sends...)
	switch {
	case strings.HasPrefix(c.want.why, "v2 handshake failed"): // it hangs up, or promises a random size
		in.want.why = "v2 handshake"
	case c.want.msg == refused:
		if _, what, ok := strings.Cut(c.want.why, "received): "); ok {
			in.want.why = what
		}
	case c.script.Mangle != nil, c.script.AAD != nil && len(c.want.got) == 0:
		in.sends = in.sends[:3]
		node = in.sends[:len(c.want.got)]
	default:
		node = append([]message{first}, c.want.got...)
	}
	if len(node) == 0 && c.want.msg == closed {
		in.want.msg, in.want.why = refused, strings.TrimSuffix(c.want.why, "the peer") // any error will do
	}
	return in, node
}

// Every hostile peer that an initiator can be, at the program's listener for peers: the node gets what was sent before
// the fault and nothing after it, and learns of no peer that has not sent a VERSION.
func TestHostileInbound(t *testing.T) {
	t.Parallel()
	b := startLobby(t)
	cases := slices.DeleteFunc(peerCases(), func(c peerCase) bool {
		return c.script.GarbageFrom != nil || c.script.KeyFirst || c.script.KeyAfter > 0 || c.script.ReflectKey
	})
	expected := make(chan struct{}, len(cases))
	each(len(cases), 8, func(i int) {
		first := message{"version", hostile.Version(fmt.Sprintf("/peer:%d/", i))}
		c, node := cases[i].comingIn(first)
		nc := b.call(t)
		e, err := c.script.Speak(nc, true)
		shakes := cases[i].want.msg == closed
		if err == nil && shakes {
			err = e.ReadFlight()
		}
		switch {
		case err == nil && shakes:
			for i, m := range c.sends {
				e.Send(hostile.V2(m.name, m.payload))
				if i > 0 || len(node) == 0 {
					continue
				}
				if got, err := e.Receive(); err != nil || !bytes.Equal(got, hostile.V2("version", hostile.Version(nodeAgent))) {
					t.Errorf("%s: the peer got %d bytes instead of the node's VERSION, %v", c.name, len(got), err)
				}
			}
			if c.then != nil {
				c.then(e)
			}
		case shakes:
			t.Errorf("%s: handshake: %v", c.name, err)
		}
		nc.end(t, c.name)
		if len(node) > 0 {
			expected <- struct{}{}
			if err := same(b.received(t, first), node); err != nil {
				t.Errorf("%s: the node: %v", c.name, err)
			}
		}
		if e := b.endOf(t, nc); e.Msg != c.want.msg || !strings.Contains(e.Reason, c.want.why) || e.Dropped != c.want.dropped {
			t.Errorf("%s: got %s, %q, %d dropped; want %s, %q, %d", c.name, e.Msg, e.Reason, e.Dropped, c.want.msg, c.want.why, c.want.dropped)
		}
	})
	if b.visits() != len(expected) {
		t.Errorf("the node had %d connections, want %d: one for each VERSION", b.visits(), len(expected))
	}
	t.Logf("%d cases, %d of which reached the node", len(cases), len(expected))
	b.requireFreed(t)
}

// endOf waits for the last line about a peer's session: an earlier connection may have had the same port.
func (b *lobby) endOf(t *testing.T, peer *overheard) event {
	t.Helper()
	return (&proxy{program: b.program}).await(t, "the end of a session", func(e event) bool {
		if !e.Inbound || e.Peer != peer.LocalAddr().String() || e.Msg != closed && e.Msg != refused ||
			e.Time.Add(-e.Duration).Before(peer.began.Add(-2*time.Millisecond)) { // durations are rounded
			return false
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.ends[e.Session] {
			return false
		}
		b.ends[e.Session] = true
		return true
	})
}

// With v1 refused, nothing is sent to a peer whose bytes are v1's so far, wherever it stops, and however it ends.
func TestInboundStrictSendsNoV1(t *testing.T) {
	t.Parallel()
	b := startLobby(t)
	type way struct {
		name string
		says []byte
	}
	var ways []way
	for n := range len(hello) + 1 {
		ways = append(ways, way{fmt.Sprintf("%d bytes of a VERSION", n), hello[:n]})
	}
	for _, c := range v1Cases() {
		if bytes.HasPrefix(c.says, hello[:16]) {
			ways = append(ways, way{c.name, c.says})
		}
	}
	for _, magic := range [][4]byte{{0x0b, 0x11, 0x09, 0x07}, {0x0a, 0x03, 0xcf, 0x40}, {1, 2, 3, 4}} {
		ways = append(ways, way{"a VERSION of another network", hostile.V1On(magic, version.name, version.payload)})
	}
	ends := []cut{cutReset, cutClose, cutHalf}
	n := len(ways)
	if long {
		n *= len(ends)
	}
	each(n, 8, func(i int) {
		w, end := ways[i%len(ways)], ends[(i+i/len(ways))%len(ends)]
		nc := b.call(t)
		nc.Write(w.says)
		if end.name == cutHalf.name {
			nc.CloseWrite()
			io.Copy(io.Discard, nc) // and keeps what it read
			if len(nc.read) > 0 {
				t.Errorf("%s: the peer was sent %d bytes", w.name, len(nc.read))
			}
		}
		end.do(nc.TCPConn)
		nc.Close()
		if e := b.endOf(t, nc); e.Msg != refused {
			t.Errorf("%s, %s: got %s, %q", w.name, end.name, e.Msg, e.Reason)
		}
	})
	t.Logf("%d cases", n)
	if n := b.visits(); n > 0 {
		t.Errorf("the node had %d connections", n)
	}
	b.requireFreed(t)
}
