package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"bip324proxy/transport"
)

var mainnet = [4]byte{0xf9, 0xbe, 0xb4, 0xd9}

// behaviour is what a peer in these tests does with a connection.
type behaviour func(t *testing.T, nc net.Conn)

// takes reads n bytes and then runs next.
func takes(n int, next behaviour) behaviour {
	return func(t *testing.T, nc net.Conn) {
		if _, err := io.CopyN(io.Discard, nc, int64(n)); err != nil {
			t.Error(err)
		}
		next(t, nc)
	}
}

func closes(_ *testing.T, nc net.Conn) {
	nc.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, nc)
	nc.Close()
}
func resets(_ *testing.T, nc net.Conn) { nc.(*net.TCPConn).SetLinger(0); nc.Close() }
func silent(_ *testing.T, nc net.Conn) { io.Copy(io.Discard, nc); nc.Close() }

func says(b []byte, next behaviour) behaviour {
	return func(t *testing.T, nc net.Conn) { nc.Write(b); next(t, nc) }
}

func speaksV2(t *testing.T, nc net.Conn) {
	defer nc.Close()
	if _, err := transport.Server(context.Background(), nc, transport.Config{Magic: mainnet}); err != nil {
		t.Error(err)
	}
	io.Copy(io.Discard, nc)
}

// failsMAC performs the handshake with one flipped bit in its version packet.
func failsMAC(t *testing.T, nc net.Conn) {
	h, err := transport.NewHandshake(transport.Config{Magic: mainnet, Garbage: []byte{1}}, false)
	if err != nil {
		t.Error(err)
	}
	key := make([]byte, transport.KeySize)
	io.ReadFull(nc, key)
	_, flight, err := h.Receive(key)
	if err != nil || len(flight) != transport.KeySize+1+16+transport.Headroom+transport.Tailroom {
		t.Errorf("flight of %d bytes, %v", len(flight), err)
	}
	flight[len(flight)-1] ^= 1
	nc.Write(flight)
	closes(t, nc)
}

// Upgrade falls back to v1 only when it may, and never twice.
func TestFallback(t *testing.T) {
	never, always := Never, Always
	for _, test := range []struct {
		name     string
		peer     behaviour // on the first connection
		then     behaviour // on the second, silent if nil; on all others silent
		fallback Mode
		known    Speaks
		v1       bool // the link is v1
		failed   bool // Upgrade fails
		dials    int
	}{
		{"v2 peer", speaksV2, nil, always, SpeaksUnknown, false, false, 1},
		{"v2 peer, strict", speaksV2, nil, never, SpeaksUnknown, false, false, 1},
		{"v2 peer once known as v1, strict", speaksV2, nil, never, SpeaksV1, false, false, 1},
		{"closes after the header", takes(24, closes), nil, always, SpeaksUnknown, true, false, 3},
		{"resets after the header", takes(64, resets), nil, always, SpeaksUnknown, true, false, 3},
		{"closes, strict", takes(24, closes), nil, never, SpeaksUnknown, false, true, 1},
		{"closes, proven v2", takes(24, closes), nil, always, SpeaksV2, false, true, 1},
		{"resets, proven v2", takes(64, resets), nil, always, SpeaksV2, false, true, 1},
		{"closes, overlay policy on clearnet", takes(24, closes), nil, Overlay, SpeaksUnknown, false, true, 1},
		{"closes, known v1", silent, nil, always, SpeaksV1, true, false, 1},
		{"one byte, then closes", takes(64, says([]byte{7}, closes)), nil, always, SpeaksUnknown, false, true, 1},
		{"one byte, then resets", takes(64, says([]byte{7}, resets)), nil, always, SpeaksUnknown, false, true, 1},
		{"half a key, then silent", takes(64, says(make([]byte, 32), silent)), nil, always, SpeaksUnknown, false, true, 1},
		{"garbage without terminator", takes(64, says(make([]byte, 64+4111), silent)), nil, always, SpeaksUnknown, false, true, 1},
		{"wrong version packet", failsMAC, nil, always, SpeaksUnknown, false, true, 1},
		{"known v1, strict", takes(24, closes), nil, never, SpeaksV1, false, true, 1},
		{"known v1, overlay policy on clearnet", takes(24, closes), nil, Overlay, SpeaksV1, false, true, 1},
		{"just refused v2", silent, nil, always, RefusedV2, true, false, 3},
		{"just refused v2, strict", takes(24, closes), nil, never, RefusedV2, false, true, 1},
		{"just refused v2, overlay policy on clearnet", takes(24, closes), nil, Overlay, RefusedV2, false, true, 1},
		{"v2 peer that just refused, strict", speaksV2, nil, never, RefusedV2, false, false, 1},
		{"silent, never seen", silent, nil, always, SpeaksUnknown, true, false, 2},
		{"silent, proven v2", silent, nil, always, SpeaksV2, false, true, 1},
		{"silent, strict", silent, nil, never, SpeaksUnknown, false, true, 1},
		{"closes, then speaks v2", takes(24, closes), speaksV2, always, SpeaksUnknown, false, false, 2},
		{"resets, then speaks v2", takes(64, resets), speaksV2, always, SpeaksUnknown, false, false, 2},
		{"closes twice", takes(24, closes), takes(24, closes), always, SpeaksUnknown, true, false, 3},
		{"closes, then resets", takes(24, closes), takes(24, resets), always, SpeaksUnknown, true, false, 3},
		{"closes, then one byte", takes(24, closes), takes(64, says([]byte{7}, closes)), always, SpeaksUnknown, false, true, 2},
		{"closes, then a wrong version packet", takes(24, closes), failsMAC, always, SpeaksUnknown, false, true, 2},
		{"closes, then would speak v2, strict", takes(24, closes), speaksV2, never, SpeaksUnknown, false, true, 1},
		{"closes, then would speak v2, overlay policy on clearnet", takes(24, closes), speaksV2, Overlay, SpeaksUnknown, false, true, 1},
		{"closes, then would speak v2, proven v2", takes(24, closes), speaksV2, always, SpeaksV2, false, true, 1},
		{"just refused v2, then speaks it", silent, speaksV2, always, RefusedV2, false, false, 2},
		{"just refused v2, closes", silent, takes(24, closes), always, RefusedV2, true, false, 3},
		{"just refused v2, then one byte", silent, takes(64, says([]byte{7}, closes)), always, RefusedV2, false, true, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var peers sync.WaitGroup
			peers.Go(func() {
				for i := 0; ; i++ {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					peer := behaviour(silent)
					switch {
					case i == 0:
						peer = test.peer
					case i == 1 && test.then != nil:
						peer = test.then
					}
					peers.Go(func() { peer(t, nc) })
				}
			})
			defer peers.Wait()
			defer l.Close()
			addr := l.Addr().String()
			dials := 0
			d := &Dialer{
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials++
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
				Mode:             test.fallback,
				Peers:            new(Peers),
				HandshakeTimeout: time.Second,
				FirstByteTimeout: 100 * time.Millisecond,
				RetryAfter:       time.Millisecond,
			}
			d.Peers.Note(addr, test.known)
			nc, err := d.Connect(t.Context(), addr)
			if err != nil {
				t.Fatal(err)
			}
			link, err := d.Upgrade(t.Context(), nc, addr, transport.Config{Magic: mainnet})
			if (err != nil) != test.failed {
				t.Fatalf("error %v, want one: %v", err, test.failed)
			}
			if got := link.V1 != nil; got != test.v1 {
				t.Errorf("v1: got %v, want %v (cause %v)", got, test.v1, link.Cause)
			}
			if got := link.V2 != nil; got == (test.v1 || test.failed) {
				t.Errorf("v2: got %v", got)
			}
			if test.failed {
				var failed *transport.HandshakeError
				if !errors.As(err, &failed) {
					t.Errorf("error %v is not a *transport.HandshakeError", err)
				}
				if _, err := nc.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the failed connection is still open: %v", err)
				}
			}
			if link.V1 != nil {
				link.V1.Close()
			}
			if link.V2 != nil {
				if d.Peers.Lookup(addr) != SpeaksV2 {
					t.Error("a proven v2 peer was not recorded")
				}
				link.V2.Close()
			}
			if dials != test.dials {
				t.Errorf("%d connections, want %d", dials, test.dials)
			}
		})
	}
}

func TestUpgradeStopped(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := &Dialer{Mode: Always}
	nc, err := d.Connect(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	link, err := d.Upgrade(ctx, nc, l.Addr().String(), transport.Config{Magic: mainnet})
	if !errors.Is(err, context.Canceled) || link != (Link{}) {
		t.Errorf("after cancelling got %+v, %v", link, err)
	}
}

// Overlay is called when v1 is about to be spoken, and only then. Under overlay its result decides;
// under always the link has it.
func TestOverlay(t *testing.T) {
	elsewhere := errors.New("it is elsewhere")
	const never, overlay, always = Never, Overlay, Always
	for _, c := range []struct {
		fallback  Mode
		known     Speaks
		peer      behaviour // on the first connection
		noOverlay bool      // Overlay is nil
		answer    error     // Overlay's result
		v1        bool      // the link is v1
		overlay   bool      // the link says that the network encrypts
		asked     int
		refused   bool // the error is an *OverlayError
		dials     int
	}{
		{fallback: overlay, peer: takes(64, closes), v1: true, overlay: true, asked: 1, dials: 3},
		{fallback: overlay, peer: takes(64, closes), answer: elsewhere, asked: 1, refused: true, dials: 1},
		{fallback: overlay, peer: takes(64, closes), noOverlay: true, dials: 1},
		{fallback: overlay, peer: silent, v1: true, overlay: true, asked: 1, dials: 2},
		{fallback: overlay, peer: silent, answer: elsewhere, asked: 1, refused: true, dials: 1},
		{fallback: overlay, peer: takes(64, says([]byte{7}, closes)), dials: 1},
		{fallback: overlay, peer: speaksV2, dials: 1},
		{fallback: overlay, known: SpeaksV2, peer: takes(64, closes), dials: 1},
		{fallback: overlay, known: SpeaksV1, peer: silent, v1: true, overlay: true, asked: 1, dials: 1},
		{fallback: overlay, known: SpeaksV1, peer: speaksV2, answer: elsewhere, asked: 1, dials: 1},
		{fallback: overlay, known: SpeaksV1, peer: takes(64, closes), answer: elsewhere, asked: 2, refused: true, dials: 1},
		{fallback: overlay, known: SpeaksV1, peer: takes(64, closes), noOverlay: true, dials: 1},
		{fallback: overlay, known: RefusedV2, peer: silent, v1: true, overlay: true, asked: 1, dials: 3},
		{fallback: overlay, known: RefusedV2, peer: takes(64, closes), answer: elsewhere, asked: 2, refused: true, dials: 1},
		{fallback: always, peer: takes(64, closes), v1: true, overlay: true, asked: 1, dials: 3},
		{fallback: always, peer: takes(64, closes), answer: elsewhere, v1: true, asked: 1, dials: 3},
		{fallback: always, peer: takes(64, closes), noOverlay: true, v1: true, dials: 3},
		{fallback: always, known: SpeaksV1, peer: silent, answer: elsewhere, v1: true, asked: 1, dials: 1},
		{fallback: never, peer: takes(64, closes), dials: 1},
		{fallback: never, known: SpeaksV1, peer: takes(64, closes), dials: 1},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var peers sync.WaitGroup
		peers.Go(func() {
			for peer := c.peer; ; peer = silent {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				peers.Go(func() { peer(t, nc) })
			}
		})
		asked, dials := 0, 0
		d := &Dialer{
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				dials++
				return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
			},
			Overlay: func(_ context.Context, host string, via net.Addr) error {
				asked++
				if host != "abc.onion" || via.String() != l.Addr().String() {
					t.Errorf("Overlay called for %s via %v", host, via)
				}
				return c.answer
			},
			Mode:             c.fallback,
			Peers:            new(Peers),
			HandshakeTimeout: time.Second,
			FirstByteTimeout: 100 * time.Millisecond,
			RetryAfter:       time.Millisecond,
		}
		if c.noOverlay {
			d.Overlay = nil
		}
		const addr = "abc.onion:8333"
		d.Peers.Note(addr, c.known)
		nc, err := d.Connect(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		link, err := d.Upgrade(t.Context(), nc, addr, transport.Config{Magic: mainnet})
		var refused *OverlayError
		if (link.V1 != nil) != c.v1 || link.Overlay != c.overlay || asked != c.asked || dials != c.dials || errors.As(err, &refused) != c.refused {
			t.Errorf("%v, known for %v, answer %v: got %+v, %v; Overlay called %d times, dialled %d times", c.fallback, c.known, c.answer, link, err, asked, dials)
		}
		var failed *transport.HandshakeError
		if c.refused && (refused.Err != elsewhere || !errors.As(err, &failed)) {
			t.Errorf("got the error %v", err)
		}
		if link.V1 != nil {
			link.V1.Close()
		}
		if link.V2 != nil {
			link.V2.Close()
		}
		l.Close()
		peers.Wait()
	}
}

func TestPeers(t *testing.T) {
	p := new(Peers)
	p.Note("Example.com:8333", SpeaksV2)
	if got := p.Lookup("example.COM:8333"); got != SpeaksV2 {
		t.Errorf("another case of the name is known as %v", got)
	}
	p.Note("example.com:8333", SpeaksV1)
	if got := p.Lookup("example.com:8333"); got != SpeaksV2 {
		t.Errorf("a v2 peer was downgraded to %v", got)
	}
	p.Note("a:1", SpeaksV1)
	p.Note("a:1", SpeaksV2)
	if got := p.Lookup("a:1"); got != SpeaksV2 {
		t.Errorf("a v1 peer that learnt v2 is known as %v", got)
	}
	if got := (*Peers)(nil).Lookup("a:1"); got != SpeaksUnknown {
		t.Errorf("a nil *Peers knows %v", got)
	}
}

func TestPeersAreBounded(t *testing.T) {
	p := new(Peers)
	addr := func(i int) string { return net.JoinHostPort("h", strconv.Itoa(i)) }
	for i := range maxPeers + 100 {
		p.Note(addr(i), SpeaksV2)
	}
	if len(p.v2.byKey) != maxPeers || p.v2.order.Len() != maxPeers {
		t.Fatalf("%d and %d entries", len(p.v2.byKey), p.v2.order.Len())
	}
	if p.Lookup(addr(99)) != SpeaksUnknown || p.Lookup(addr(100)) != SpeaksV2 {
		t.Error("the oldest entries were not evicted")
	}
}
