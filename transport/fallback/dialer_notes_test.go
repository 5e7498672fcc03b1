package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

const (
	addrA = "192.0.2.1:8333"
	addrB = "192.0.2.2:8333"
)

// world is a network of peers with a Dialer in it.
type world struct {
	t       *testing.T
	d       *Dialer
	names   map[string][]string // to addresses without a port
	peers   map[string]behaviour
	dialled []string
	onDial  func(addr string)
	ends    sync.WaitGroup
}

// newWorld returns a world without peers, in which node.example and other.example resolve to addrA.
func newWorld(t *testing.T) *world {
	w := &world{t: t, peers: make(map[string]behaviour), names: map[string][]string{
		"node.example": {"192.0.2.1"}, "other.example": {"192.0.2.1"}}}
	w.d = &Dialer{Mode: Always, Peers: new(Peers), Dial: w.dial, Direct: true, Resolve: w.resolve,
		FirstByteTimeout: 200 * time.Millisecond, RetryAfter: time.Millisecond, HandshakeTimeout: 10 * time.Second}
	t.Cleanup(w.ends.Wait)
	return w
}

func (w *world) resolve(_ context.Context, host string) (ips []netip.Addr, err error) {
	for _, ip := range w.names[strings.ToLower(strings.TrimRight(host, "."))] {
		ips = append(ips, netip.MustParseAddr(ip))
	}
	return ips, nil
}

// dial connects to an address, or to a name's first.
func (w *world) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	w.dialled = append(w.dialled, addr)
	if w.onDial != nil {
		w.onDial(addr)
	}
	host, port, _ := net.SplitHostPort(addr)
	if ips, _ := w.resolve(ctx, host); len(ips) > 0 {
		addr = net.JoinHostPort(ips[0].String(), port)
	}
	addr = CanonicalAddr(addr)
	peer := w.peers[addr]
	if peer == nil {
		return nil, errors.New("unreachable")
	}
	ours, theirs := testkit.TCPPair(w.t)
	w.ends.Go(func() { peer(w.t, theirs) })
	return &at{ours, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}, nil
}

// connect runs a session to its end. For a v1 session it records the peer's answer.
func (w *world) connect(addr string) (Link, error) {
	w.t.Helper()
	w.dialled = nil
	nc, err := w.d.Connect(w.t.Context(), addr)
	if err != nil {
		w.t.Fatal(err)
	}
	link, err := w.d.Upgrade(w.t.Context(), nc, addr, transport.Config{Magic: mainnet})
	if link.V1 != nil {
		w.d.NoteV1(addr, link)
		link.V1.Close()
	}
	if link.V2 != nil {
		link.V2.Close()
	}
	if err != nil {
		if _, err := nc.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("%s: the connection is still open: %v", addr, err)
		}
	}
	w.ends.Wait() // no connection is left open
	return link, err
}

var cut = takes(transport.KeySize, closes)

// cutOnce returns a peer that hangs up on its first connection and is silent on others.
func cutOnce() behaviour {
	var once sync.Once
	return func(t *testing.T, nc net.Conn) {
		peer := behaviour(silent)
		once.Do(func() { peer = cut })
		peer(t, nc)
	}
}

// A peer that is proven v2 under one of its names or its address is not spoken to in v1 under any
// of them, in any spelling.
func TestProvenBySpelling(t *testing.T) {
	all := []string{"node.example:8333", "NODE.example.:8333", "node.example:08333", "other.example:8333", addrA, "[::ffff:192.0.2.1]:8333", "192.0.2.1:08333"}
	for _, first := range all {
		w := newWorld(t)
		w.peers[addrA] = speaksV2
		if link, err := w.connect(first); link.V2 == nil {
			t.Fatal(err)
		}
		w.peers[addrA] = cut
		for _, next := range all {
			link, err := w.connect(next)
			var failed *ProvenV2Error
			if link.V1 != nil || !errors.As(err, &failed) || !errors.As(err, new(*transport.HandshakeError)) || len(w.dialled) != 1 {
				t.Errorf("proven as %s, dialled as %s: got %+v, %v, dialled %q", first, next, link, err, w.dialled)
			}
		}
	}
}

// A name that is proven v2 is not spoken to in v1 after it resolves to another address.
func TestProvenByName(t *testing.T) {
	w := newWorld(t)
	w.peers[addrA], w.peers[addrB] = speaksV2, cut
	w.connect("node.example:8333")
	w.names["node.example"] = []string{"192.0.2.2"}
	if link, err := w.connect("node.example:8333"); err == nil {
		t.Errorf("got %+v, want an error", link)
	}
	// The new address by itself is an unknown peer.
	w.peers[addrB] = cutOnce()
	if link, err := w.connect(addrB); link.V1 == nil {
		t.Error(err)
	}
}

// If one address of a name is proven, it is tried first, and rules out v1 if it fails.
func TestProvenAmongOthers(t *testing.T) {
	for _, fails := range []bool{false, true} {
		w := newWorld(t)
		w.names["seed.example"] = []string{"192.0.2.1", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.2"}
		for _, ip := range []string{"1", "3", "4", "5"} {
			w.peers["192.0.2."+ip+":8333"] = cut
		}
		w.d.Peers.Note(addrB, SpeaksV2)
		w.peers[addrB] = speaksV2
		if fails {
			w.peers[addrB] = cut
		}
		link, err := w.connect("seed.example:8333")
		if fails != (err != nil) || link.V1 != nil || w.dialled[1] != addrB {
			t.Errorf("it fails: %v; got %+v, %v, dialled %q", fails, link, err, w.dialled)
		}
	}
}

// A v1 answer counts for the address that gave it: when the name resolves to others, v2 is tried
// with these before v1 is spoken.
func TestV1IsOfOneAddress(t *testing.T) {
	w := newWorld(t)
	w.names["seed.example"] = []string{"192.0.2.1"}
	w.peers[addrA], w.peers[addrB] = cutOnce(), speaksV2
	if link, err := w.connect("seed.example:8333"); link.V1 == nil || !slices.Equal(w.dialled, []string{addrA, addrA, addrA}) {
		t.Fatalf("got %+v, %v, dialled %q", link, err, w.dialled)
	}
	for addr, want := range map[string]Speaks{"seed.example:8333": SpeaksUnknown, addrA: SpeaksV1} {
		if got := w.d.Peers.Lookup(addr); got != want {
			t.Errorf("%s is known as %v, want %v", addr, got, want)
		}
	}
	if link, err := w.connect("node.example:8333"); link.Cause != ErrKnownV1 || len(w.dialled) != 1 {
		t.Errorf("by another name: got %+v, %v, dialled %q", link, err, w.dialled)
	}
	w.names["seed.example"] = []string{"192.0.2.1", "192.0.2.2"}
	if link, err := w.connect("seed.example:8333"); link.V2 == nil || !slices.Equal(w.dialled, []string{addrA, addrB}) {
		t.Errorf("with another address: got %+v, %v, dialled %q", link, err, w.dialled)
	}
	if got := w.d.Peers.Lookup(addrB); got != SpeaksV2 {
		t.Errorf("the other address is known as %v", got)
	}

	// If all addresses are known to speak v1, v2 is not tried.
	w.names["old.example"] = []string{"192.0.2.1", "192.0.2.9"}
	w.d.Peers.Note("192.0.2.9:8333", SpeaksV1)
	if link, err := w.connect("old.example:8333"); link.Cause != ErrKnownV1 || len(w.dialled) != 1 {
		t.Errorf("got %+v, %v, dialled %q", link, err, w.dialled)
	}
	// If another address fails as well, v1 is spoken on the first connection, and nothing else is
	// recorded.
	w.names["cut.example"] = []string{"192.0.2.1", "192.0.2.8"}
	w.peers["192.0.2.8:8333"] = cut
	if link, err := w.connect("cut.example:8333"); link.Cause != ErrKnownV1 || len(w.dialled) != 2 {
		t.Errorf("got %+v, %v, dialled %q", link, err, w.dialled)
	}
	// If another address answers, even a single byte, there is no v1 for the name.
	w.peers["192.0.2.8:8333"] = takes(transport.KeySize, says([]byte{7}, closes))
	if link, err := w.connect("cut.example:8333"); err == nil || link != (Link{}) {
		t.Errorf("got %+v, %v, dialled %q", link, err, w.dialled)
	}
}

// If the client leaves while others are tried, its VERSION is sent to no peer.
func TestKnownV1Stopped(t *testing.T) {
	w := newWorld(t)
	w.names["seed.example"] = []string{"192.0.2.1", "192.0.2.2"}
	w.peers[addrA], w.peers[addrB] = silent, silent
	w.d.Peers.Note(addrA, SpeaksV1)
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("the client left")
	w.onDial = func(addr string) {
		if addr == addrB {
			cancel(left)
		}
	}
	nc, err := w.d.Connect(ctx, "seed.example:8333")
	if err != nil {
		t.Fatal(err)
	}
	if link, err := w.d.Upgrade(ctx, nc, "seed.example:8333", transport.Config{Magic: mainnet}); err != left || link != (Link{}) {
		t.Errorf("got %+v, %v", link, err)
	}
	if _, err := nc.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is still open: %v", err)
	}
}

// While the connection for v1 is made, another session proves the peer v2, by the destination or by
// its address.
func TestProvenWhileRedialling(t *testing.T) {
	for _, addr := range []string{"node.example:8333", addrA, "other.example:8333"} {
		for dial := 2; dial <= 3; dial++ { // for v2 again, for v1
			w := newWorld(t)
			w.peers[addrA] = cutOnce()
			w.onDial = func(string) {
				if len(w.dialled) == dial {
					w.d.Peers.Note(addr, SpeaksV2)
				}
			}
			link, err := w.connect("node.example:8333")
			proven := addr != "other.example:8333" // not known to be the same peer
			dials := 3
			if proven {
				dials = dial
			}
			if proven != (err != nil) || proven != (link.V1 == nil) || len(w.dialled) != dials {
				t.Errorf("proven as %s at dial %d: got %+v, %v, dialled %q", addr, dial, link, err, w.dialled)
			}
			var failed *ProvenV2Error
			if proven && !errors.As(err, &failed) {
				t.Errorf("got %v, want a *ProvenV2Error", err)
			}
		}
	}
}

// A second connection, for v2 or v1, reaches another address than the first, one that is proven v2.
func TestRedialReachesProvenPeer(t *testing.T) {
	for redial := 1; redial <= 2; redial++ {
		w := newWorld(t)
		w.peers[addrA], w.peers[addrB] = cut, silent
		w.d.Peers.Note(addrB, SpeaksV2)
		direct := w.d.Dial
		w.d.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if len(w.dialled) == redial {
				addr = addrB
			}
			return direct(ctx, network, addr)
		}
		if link, err := w.connect("node.example:8333"); err == nil || len(w.dialled) != redial+1 {
			t.Errorf("redial %d: got %+v, dialled %q", redial, link, w.dialled)
		}
	}
}

// Through a proxy, notes are for the destination only: the connection's address is the proxy's.
func TestNotesThroughProxy(t *testing.T) {
	w := newWorld(t)
	w.d.Direct, w.d.Resolve = false, nil
	w.peers[addrA] = speaksV2
	w.connect("node.example:8333")
	w.peers[addrA] = cutOnce()
	link, err := w.connect("other.example:8333")
	if link.V1 == nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.dialled, []string{"other.example:8333", "other.example:8333", "other.example:8333"}) {
		t.Errorf("dialled %q", w.dialled)
	}
	w.d.NoteFailed("third.example:8333", link.V1, &transport.HandshakeError{Sent: transport.KeySize, Err: io.EOF})
	w.d.NoteV2("fourth.example:8333", link.V1)
	for addr, want := range map[string]Speaks{addrA: SpeaksUnknown, "node.example:8333": SpeaksV2,
		"other.example:8333": SpeaksV1, "third.example:8333": RefusedV2, "fourth.example:8333": SpeaksV2} {
		if got := w.d.Peers.Lookup(addr); got != want {
			t.Errorf("%s is known as %v, want %v", addr, got, want)
		}
	}
}

// After a client's own v2 attempt was refused by one address, v2 is tried once more before v1 with
// that address, and as usual with another.
func TestRefusalIsOfOneAddress(t *testing.T) {
	w := newWorld(t)
	w.names["seed.example"] = []string{"192.0.2.1"}
	w.peers[addrA], w.peers[addrB] = cut, speaksV2
	nc, err := w.d.Connect(t.Context(), "seed.example:8333")
	if err != nil {
		t.Fatal(err)
	}
	nc.Write(make([]byte, transport.KeySize))
	nc.Close()
	w.d.NoteFailed("seed.example:8333", nc, &transport.HandshakeError{Sent: transport.KeySize, Err: io.EOF})
	w.peers[addrA] = silent
	if link, err := w.connect("node.example:8333"); !errors.Is(link.Cause, ErrRefusedV2) || !errors.Is(link.Cause, transport.ErrSilent) {
		t.Errorf("got %+v, %v", link, err)
	}
	if got := w.d.Peers.Lookup(addrA); got != SpeaksV1 {
		t.Errorf("after our v2 handshake and a v1 answer the peer is known as %v", got)
	}
	w.names["seed.example"] = []string{"192.0.2.2"}
	if link, err := w.connect("seed.example:8333"); link.V2 == nil {
		t.Errorf("got %+v, %v", link, err)
	}
}

// An answer in v1 makes or renews a note only after a failed v2 attempt.
func TestV1NoteIsNotRenewed(t *testing.T) {
	w := newWorld(t)
	w.d.FirstByteTimeout = time.Millisecond
	w.peers[addrA] = cutOnce()
	if link, err := w.connect(addrA); link.V1 == nil {
		t.Fatal(err)
	}
	note := func() peerNote { return *w.d.Peers.v1.byKey[addrA].Value.(*peerNote) }
	first := note()
	if link, err := w.connect(addrA); link.Cause != ErrKnownV1 {
		t.Errorf("got %+v, %v", link, err)
	}
	if note() != first {
		t.Errorf("%+v was renewed: %+v", first, note())
	}
	w.d.Peers.v1.byKey[addrA].Value.(*peerNote).until = time.Now() // a day later
	if link, err := w.connect(addrA); !errors.Is(link.Cause, transport.ErrSilent) {
		t.Errorf("v2 was not tried again: got %+v, %v", link, err)
	}
	if !note().until.After(first.until) {
		t.Error("the failed attempt made no new note")
	}
}
