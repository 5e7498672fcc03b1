package v1v2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// fakeListener accepts what a test gives it: connections and errors.
type fakeListener struct {
	next   chan any
	closed chan struct{}
	once   sync.Once
}

func newFakeListener() *fakeListener {
	return &fakeListener{next: make(chan any, 1000), closed: make(chan struct{})}
}

func (f *fakeListener) Accept() (net.Conn, error) {
	select {
	case <-f.closed:
		return nil, net.ErrClosed
	case next := <-f.next:
		if err, ok := next.(error); ok {
			return nil, err
		}
		return next.(net.Conn), nil
	}
}

func (f *fakeListener) Close() error {
	err := error(net.ErrClosed)
	f.once.Do(func() { close(f.closed); err = nil })
	return err
}

func (f *fakeListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(local) }

var local = netip.MustParseAddrPort("203.0.113.1:8333")

// connect has the listener accept a connection of the peer at ip, and returns the peer's end.
func (f *fakeListener) connect(ip string) net.Conn {
	theirs, ours := net.Pipe()
	f.next <- addressed{ours, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 1234))}
	return theirs
}

// addressed is a connection to addr.
type addressed struct {
	net.Conn
	addr net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.addr }

// failure is a call of OnFailure.
type failure struct {
	ip  string
	at  time.Duration // since the listener was made
	err error
}

// hall is a Listener on a fakeListener.
type hall struct {
	*Listener
	*fakeListener
	begun time.Time

	mu     sync.Mutex
	failed []failure
}

func (h *hall) Accept() (net.Conn, error) { return h.Listener.Accept() }
func (h *hall) Close() error              { return h.Listener.Close() }
func (h *hall) Addr() net.Addr            { return h.Listener.Addr() }

// newHall returns a Listener, changed by options, that is closed with the test.
func newHall(t *testing.T, options func(*Listener)) *hall {
	f := newFakeListener()
	h := &hall{Listener: &Listener{Listener: f, Config: transport.Config{Magic: mainnet}}, fakeListener: f, begun: time.Now()}
	h.OnFailure = func(peer net.Addr, err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.failed = append(h.failed, failure{peer.(*net.TCPAddr).IP.String(), time.Since(h.begun), err})
	}
	if options != nil {
		options(h.Listener)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// failures returns the failures so far, when nothing moves any more.
func (h *hall) failures() []failure {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.failed)
}

// dialled is a peer's end after its handshake.
type dialled struct {
	conn *Conn
	err  error
}

// dial performs a peer's handshake.
func (h *hall) dial(ip string) <-chan dialled {
	nc := h.connect(ip)
	done := make(chan dialled, 1)
	go func() {
		conn, err := Client(context.Background(), nc, transport.Config{Magic: mainnet})
		done <- dialled{conn, err}
	}()
	return done
}

// A peer that speaks v2 comes out as a Conn, with the same session id at both ends.
func TestListener(t *testing.T) {
	testkit.NoLeaks(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{Listener: inner, Config: transport.Config{Magic: mainnet}}
	defer l.Close()
	dialled := make(chan *Conn, 1)
	go func() {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		c, err := Client(context.Background(), nc, transport.Config{Magic: mainnet})
		if err != nil {
			t.Error(err)
		}
		dialled <- c
	}()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := nc.(*Conn), <-dialled
	defer ours.Close()
	defer theirs.Close()
	id, ok := ours.SessionID()
	if other, _ := theirs.SessionID(); !ok || id != other || ours.Transport() != "v2" {
		t.Errorf("got session id %x, %q; the peer's is %x", id, ours.Transport(), other)
	}
	if got, want := ours.RemoteAddr().String(), theirs.LocalAddr().String(); got != want {
		t.Errorf("got remote address %s, want %s", got, want)
	}
	checkTalk(t, theirs, ours)
	checkTalk(t, ours, theirs)
}

// Handshakes with garbage of all sizes in pieces of all sizes.
func TestListenerHandshakes(t *testing.T) {
	testkit.NoLeaks(t)
	l := newFakeListener()
	listener := &Listener{Listener: l, Config: transport.Config{Magic: mainnet}}
	listener.OnFailure = func(_ net.Addr, err error) { t.Error(err) }
	defer listener.Close()
	const n = 100
	for i := range n {
		nc, accepted := testkit.TCPPair(t)
		l.next <- accepted
		cfg := transport.Config{Magic: mainnet, Garbage: testBytes(i*transport.MaxGarbage/(n-1), uint64(i)), Decoys: make([]int, i%3)}
		done := make(chan dialled, 1)
		go func() {
			conn, err := Client(context.Background(), pieces{nc, i%100 + 1}, cfg)
			done <- dialled{conn, err}
		}()
		ours, err := listener.Accept()
		theirs := <-done
		if err != nil || theirs.err != nil {
			t.Fatalf("handshake %d: %v, %v", i, err, theirs.err)
		}
		id, _ := ours.(*Conn).SessionID()
		if other, _ := theirs.conn.SessionID(); id != other {
			t.Errorf("handshake %d: got session id %x, want the peer's, %x", i, id, other)
		}
		checkTalk(t, theirs.conn, ours.(*Conn))
		theirs.conn.Close()
		ours.Close()
	}
}

// pieces writes up to 20 pieces of a size, and the rest in one.
type pieces struct {
	net.Conn
	size int
}

func (p pieces) Write(b []byte) (n int, err error) {
	for i := 0; n < len(b) && err == nil; i++ {
		piece := b[n:]
		if i < 20 {
			piece = piece[:min(p.size, len(piece))]
		}
		var k int
		k, err = p.Conn.Write(piece)
		n += k
	}
	return n, err
}

// A key that begins like v1 is answered at the first byte that differs.
func TestListenerKeyLikeV1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var peer *transport.Handshake
		var hello []byte
		for len(hello) == 0 || hello[0] != mainnet[0] || hello[1] == mainnet[1] {
			var err error
			if peer, err = transport.NewHandshake(transport.Config{Magic: mainnet}, true); err != nil {
				t.Fatal(err)
			}
			hello = peer.Start()
		}
		h := newHall(t, func(l *Listener) { l.AllowV1 = true })
		accepted := make(chan net.Conn, 1)
		go func() {
			nc, err := h.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- nc
		}()
		nc := h.connect("192.0.2.1")
		answer := make(chan []byte, 100)
		go func() {
			defer close(answer)
			b := make([]byte, 8192)
			for {
				n, err := nc.Read(b)
				if err != nil {
					return
				}
				answer <- bytes.Clone(b[:n])
			}
		}()
		nc.Write(hello[:1])
		synctest.Wait()
		select {
		case b := <-answer:
			t.Fatalf("answered the magic's first byte with %d bytes", len(b))
		default:
		}
		nc.Write(hello[1:2])
		first := <-answer
		if len(first) < transport.KeySize {
			t.Errorf("answered the byte that differs with %d bytes, not with a key", len(first))
		}
		nc.Write(hello[2:])
		for received, open := first, true; peer.Session() == nil; {
			_, send, err := peer.Receive(received)
			if err != nil || !open {
				t.Fatalf("%v: got %v", peer.Stage(), err)
			}
			if len(send) > 0 {
				nc.Write(send)
			}
			if peer.Session() == nil {
				received, open = <-answer
			}
		}
		ours := <-accepted
		if id, ok := ours.(*Conn).SessionID(); !ok || id != peer.Session().ID() {
			t.Errorf("got session id %x, %v, want %x", id, ok, peer.Session().ID())
		}
		ours.Close()
		for range answer {
		}
	})
}

// checkTalk sends messages through a, and checks that b receives them.
func checkTalk(t *testing.T, a, b *Conn) {
	t.Helper()
	want := slices.Concat(v1Bytes(mainnet, "version", testBytes(100, 1)), v1Bytes(mainnet, "verack", nil), v1Bytes(mainnet, "block", testBytes(100_000, 2)))
	go a.Write(want)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(b, got); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %d bytes of %d, %v", n, len(want), err)
	}
}

// Errors of the listener underneath are Accept's, and it goes on after them.
func TestListenerErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, nil)
		full := errors.New("too many open files")
		h.next <- full
		h.next <- full
		peer := h.dial("192.0.2.1")
		for range 2 {
			if _, err := h.Accept(); err != full {
				t.Fatalf("got %v, want %v", err, full)
			}
		}
		c, err := h.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		(<-peer).conn.Close()

		h.fakeListener.Close() // not by us
		if _, err := h.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the listener underneath was closed: got %v", err)
		}
	})
}

func TestListenerNeedsMagic(t *testing.T) {
	h := newHall(t, func(l *Listener) { l.Config.Magic = [4]byte{} })
	if _, err := h.Accept(); err != errNoMagic {
		t.Errorf("got %v, want %v", err, errNoMagic)
	}
}

// oddConn is a connection without an address that never has anything to read.
type oddConn struct{ net.Conn }

func (oddConn) RemoteAddr() net.Addr       { return nil }
func (oddConn) Read(p []byte) (int, error) { return 0, nil }

// A Listener of someone else's making may return any kind of net.Conn.
func TestListenerOddConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		h := newHall(t, func(l *Listener) {
			l.OnFailure = func(peer net.Addr, err error) { failed <- err }
		})
		theirs, ours := net.Pipe()
		defer theirs.Close()
		h.next <- oddConn{ours}
		go h.Accept()
		if err := <-failed; !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("got %v, want %v", err, io.ErrNoProgress)
		}
		h.Close()
	})
}
