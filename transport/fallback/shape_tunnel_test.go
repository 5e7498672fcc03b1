package fallback

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// pipeListener accepts connections that are dialled, over pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr }

var pipeAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.1:8333"))

// sizesOf notes the sizes of writes to a connection.
type sizesOf struct {
	net.Conn
	mu    sync.Mutex
	sizes []int
}

func (s *sizesOf) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(b))
	s.mu.Unlock()
	return s.Conn.Write(b)
}

func (s *sizesOf) RemoteAddr() net.Addr { return pipeAddr }

// take returns the sizes since it was last called.
func (s *sizesOf) take() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sizes := s.sizes
	s.sizes = nil
	return sizes
}

// Programs that speak v1 through a Dialer and a Listener have a tunnel if both ask for one;
// their messages arrive unaltered.
func TestTunnelOfDialerAndListener(t *testing.T) {
	tunnel, off := transport.Shape{Mode: transport.ShapeTunnel, Fakes: -1}, transport.Shape{}
	for name, shapes := range map[string]struct{ dialer, listener transport.Shape }{
		"both": {tunnel, tunnel}, "dialer": {tunnel, off}, "listener": {off, tunnel},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reasons := make(chan transport.ShapeReason, 10)
				note := func(c transport.ShapeChange) { reasons <- c.Reason }
				pipes := newPipeListener()
				l := &v1v2.Listener{Listener: pipes, Config: transport.Config{Magic: mainnet, Shape: shapes.listener}}
				l.Config.Shape.Changed = note
				defer l.Close()
				var up, down *sizesOf
				d := &Dialer{Config: transport.Config{Magic: mainnet, Shape: shapes.dialer}}
				d.Config.Shape.Changed = note
				d.Dial = func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					up, down = &sizesOf{Conn: ours}, &sizesOf{Conn: theirs}
					pipes.conns <- down
					return up, nil
				}
				accepted := make(chan net.Conn)
				go func() {
					c, err := l.Accept()
					if err != nil {
						t.Error(err)
					}
					accepted <- c
				}()
				dialled, err := d.DialContext(t.Context(), "tcp", pipeAddr.String())
				if err != nil {
					t.Fatal(err)
				}
				near, far := newEnd(dialled), newEnd(<-accepted)
				defer near.Close()
				defer far.Close()
				for range 4 { // cells begin meanwhile
					near.send(t, far, ourVersion)
					far.send(t, near, theirVersion)
					time.Sleep(20 * time.Second)
				}
				up.take()
				down.take()
				for _, size := range []int{0, 50, 1500, 9000, 16_384, 100_000, 1_500_000, 10} {
					message := testkit.V1Message(mainnet, "block", testkit.RandomBytes(size, uint64(size)))
					near.send(t, far, message)
					far.send(t, near, message)
					time.Sleep(10 * time.Second)
				}
				for _, end := range []struct {
					*sizesOf
					shape transport.Shape
				}{{up, shapes.dialer}, {down, shapes.listener}} {
					want := end.shape.Mode == transport.ShapeTunnel && name != "listener"
					got := !slices.ContainsFunc(end.take(), func(n int) bool {
						return n != 1024 && (n < 16<<10 || name == "both" && bits.OnesCount(uint(n)) != 1)
					})
					if got != want {
						t.Errorf("all writes have the sizes of %v: %v, want %v", end.shape, got, want)
					}
				}
				var got []transport.ShapeReason
				for len(reasons) > 0 {
					got = append(got, <-reasons)
				}
				want := map[string][]transport.ShapeReason{
					"both":   {transport.ShapeAgreed, transport.ShapeAgreed},
					"dialer": {transport.ShapeNotAgreed},
				}[name]
				if !slices.Equal(got, want) {
					t.Errorf("the shapes have changed because of %v, want %v", got, want)
				}
			})
		})
	}
}

// end is one end of a connection, which reads all the time.
type end struct {
	net.Conn
	messages chan []byte
}

func newEnd(c net.Conn) *end {
	e := &end{c, make(chan []byte, 100)}
	go func() {
		for {
			header := make([]byte, v1v2.HeaderSize)
			if _, err := io.ReadFull(c, header); err != nil {
				return
			}
			message := append(header, make([]byte, binary.LittleEndian.Uint32(header[16:]))...)
			if _, err := io.ReadFull(c, message[len(header):]); err != nil {
				return
			}
			e.messages <- message
		}
	}()
	return e
}

// send sends message to the other end, where it must arrive as it is.
func (e *end) send(t *testing.T, to *end, message []byte) {
	t.Helper()
	if _, err := e.Write(message); err != nil {
		t.Error(err)
	}
	if got := <-to.messages; !bytes.Equal(got, message) {
		t.Errorf("a message of %d bytes has arrived as %d", len(message), len(got))
	}
}
