package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/testkit"
)

// start runs Client or Server and returns a channel with its error.
func start(ctx context.Context, nc net.Conn, initiator bool, cfg Config) chan error {
	done := make(chan error, 1)
	go func() {
		c, err := newConn(ctx, nc, cfg, initiator)
		if c != nil {
			defer c.Close()
		}
		done <- err
	}()
	return done
}

// The peer hangs up or resets after each byte of its flights.
func TestCutAtEveryByte(t *testing.T) {
	testkit.NoLeaks(t)
	for _, initiator := range []bool{true, false} {
		for _, reset := range []bool{false, true} {
			for k := 0; k <= flightSize; k++ {
				name := fmt.Sprintf("initiator=%v reset=%v, %d bytes", initiator, reset, k)
				nc, other := testkit.TCPPair(t)
				victim := watch(nc, k)
				reached := victim.reached
				done := start(context.Background(), victim, initiator, scriptConfig())
				sent := script(t, other, initiator, k)
				if k < flightSize {
					<-reached
				}
				if reset {
					other.(*net.TCPConn).SetLinger(0)
					other.Close()
				} else {
					other.(*net.TCPConn).CloseWrite()
				}
				err := <-done
				if k == flightSize {
					if err != nil {
						t.Fatalf("%s: got %v", name, err)
					}
					continue
				}
				var h *HandshakeError
				if !errors.As(err, &h) {
					t.Fatalf("%s: got %v", name, err)
				}
				if h.Stage != stageAfter(k) || h.Received != k || h.Sent != sent || !h.HungUp() {
					t.Errorf("%s: %v, hung up: %v; want %q, %d sent", name, err, h.HungUp(), stageAfter(k), sent)
				}
				if !reset && !errors.Is(err, io.EOF) {
					t.Errorf("%s: got %v, want EOF", name, err)
				}
				if _, err := nc.Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: the socket is still open: %v", name, err)
				}
				other.Close()
			}
		}
	}
}

// After a whole flight and a reset before the answer, the session fails, with the peer as the
// cause.
func TestPeerGoneBeforeTheAnswer(t *testing.T) {
	a, b := net.Pipe()
	reset := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", errno.EPIPE)}
	done := start(context.Background(), &failsSecondWrite{Conn: a, err: reset}, true, scriptConfig())
	h, err := NewHandshake(scriptConfig(), false)
	if err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, helloSize)
	if _, err := io.ReadFull(b, hello); err != nil {
		t.Fatal(err)
	}
	_, flight, err := h.Receive(hello)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(flight); err != nil {
		t.Fatal(err)
	}
	var he *HandshakeError
	if err := <-done; !errors.As(err, &he) || !errors.Is(err, reset) {
		t.Fatal(err)
	}
	if !he.HungUp() || he.Received != flightSize || he.Sent != helloSize {
		t.Errorf("got %v, hung up: %v", he, he.HungUp())
	}
}

type failsSecondWrite struct {
	net.Conn
	err    error
	writes int
}

func (f *failsSecondWrite) Write(p []byte) (int, error) {
	if f.writes++; f.writes == 2 {
		return 0, f.err
	}
	return f.Conn.Write(p)
}

var errStopped = errors.New("stopped by the test")

// The context ends the handshake at each stage, by its deadline or by cancellation.
func TestContextEndsHandshake(t *testing.T) {
	limit := 10 * time.Second
	for _, how := range []struct {
		name string
		ctx  func() (context.Context, func())
		want error
	}{
		{"deadline", func() (context.Context, func()) {
			return context.WithTimeout(context.Background(), limit)
		}, context.DeadlineExceeded},
		{"cancel", func() (context.Context, func()) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(limit, cancel)
			return ctx, cancel
		}, context.Canceled},
		{"cause", func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(context.Background())
			time.AfterFunc(limit, func() { cancel(errStopped) })
			return ctx, func() { cancel(nil) }
		}, errStopped},
	} {
		for _, initiator := range []bool{true, false} {
			for _, first := range []time.Duration{0, time.Hour} {
				for _, k := range []int{0, 1, 10, 63, 64, 70, 100, 119} {
					name := fmt.Sprintf("%s/initiator=%v/first=%v/%d bytes", how.name, initiator, first, k)
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := how.ctx()
						defer cancel()
						nc, other := net.Pipe()
						cfg := scriptConfig()
						cfg.FirstByteTimeout = first
						begin := time.Now()
						done := start(ctx, nc, initiator, cfg)
						sent := script(t, other, initiator, k)
						err := <-done
						if took := time.Since(begin); took != limit {
							t.Errorf("%s: ended after %v", name, took)
						}
						var h *HandshakeError
						if !errors.As(err, &h) || !errors.Is(err, how.want) {
							t.Fatalf("%s: got %v", name, err)
						}
						if h.Stage != stageAfter(k) || h.Received != k || h.Sent != sent || h.HungUp() {
							t.Errorf("%s: %v, hung up: %v; want %q, %d sent", name, err, h.HungUp(), stageAfter(k), sent)
						}
						if _, err := other.Read(make([]byte, 1)); err != io.EOF {
							t.Errorf("%s: the socket is still open: %v", name, err)
						}
					})
				}
			}
		}
	}
}

// The peer reads nothing, so the handshake blocks in its first write.
func TestContextEndsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, other := net.Pipe()
		defer other.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var h *HandshakeError
		if err := <-start(ctx, nc, true, scriptConfig()); !errors.As(err, &h) || !errors.Is(err, context.DeadlineExceeded) ||
			h.Stage != StageKey || h.Sent != 0 || h.Received != 0 || h.HungUp() {
			t.Errorf("got %v", err)
		}
	})
}

func TestContextOverBeforehand(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, initiator := range []bool{true, false} {
		for _, first := range []time.Duration{0, time.Hour} {
			nc, other := testkit.TCPPair(t)
			cfg := scriptConfig()
			cfg.FirstByteTimeout = first
			var h *HandshakeError
			if err := <-start(ctx, nc, initiator, cfg); !errors.As(err, &h) || !errors.Is(err, context.Canceled) || h.HungUp() {
				t.Errorf("got %v", err)
			}
			other.Close()
		}
	}
}

// After the handshake the context has no effect.
func TestContextAfterHandshake(t *testing.T) {
	a, b := testkit.TCPPair(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan *Conn)
	go func() {
		c, _ := Server(ctx, b, Config{Magic: mainnet})
		done <- c
	}()
	client, err := Client(ctx, a, Config{Magic: mainnet, FirstByteTimeout: time.Minute})
	server := <-done
	if err != nil || server == nil {
		t.Fatal(err)
	}
	cancel()
	for range 10 {
		if err := client.WritePacket([]byte("still there")); err != nil {
			t.Fatal(err)
		}
		if got, err := server.ReadPacket(); err != nil || string(got) != "still there" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestFirstByteTimeout(t *testing.T) {
	for _, initiator := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			nc, other := net.Pipe()
			cfg := scriptConfig()
			cfg.FirstByteTimeout = 5 * time.Second
			begin := time.Now()
			done := start(context.Background(), nc, initiator, cfg)
			sent := script(t, other, initiator, 0)
			err := <-done
			var h *HandshakeError
			if !errors.As(err, &h) || !errors.Is(err, ErrSilent) || time.Since(begin) != cfg.FirstByteTimeout {
				t.Fatalf("got %v after %v", err, time.Since(begin))
			}
			if h.Stage != StageKey || h.Sent != sent || h.Received != 0 || h.HungUp() {
				t.Errorf("got %v", err)
			}
		})
		// One byte in time suffices; the rest may be slow.
		synctest.Test(t, func(t *testing.T) {
			nc, other := net.Pipe()
			cfg := scriptConfig()
			cfg.FirstByteTimeout = 5 * time.Second
			done := start(context.Background(), nc, initiator, cfg)
			time.Sleep(4 * time.Second)
			script(t, &slowWriter{Conn: other, pause: time.Minute, pieces: !initiator}, initiator, flightSize)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		// A peer that hangs up does not count as silent.
		synctest.Test(t, func(t *testing.T) {
			nc, other := net.Pipe()
			cfg := scriptConfig()
			cfg.FirstByteTimeout = 5 * time.Second
			done := start(context.Background(), nc, initiator, cfg)
			script(t, other, initiator, 0)
			other.Close()
			var h *HandshakeError
			if err := <-done; !errors.As(err, &h) || !errors.Is(err, io.EOF) || !h.HungUp() || h.Received != 0 {
				t.Error(err)
			}
		})
	}
}

// slowWriter writes its first byte, or its first piece, at once, and the rest after a pause.
type slowWriter struct {
	net.Conn
	pause  time.Duration
	pieces bool
	began  bool
}

func (s *slowWriter) Write(p []byte) (n int, err error) {
	if !s.began {
		s.began = true
		first := 1
		if s.pieces {
			first = len(p)
		}
		if n, err = s.Conn.Write(p[:first]); err != nil || n == len(p) {
			return n, err
		}
	}
	time.Sleep(s.pause)
	m, err := s.Conn.Write(p[n:])
	return n + m, err
}

func TestHungUp(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{io.EOF, true},
		{io.ErrUnexpectedEOF, true},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", errno.ECONNRESET)}, true},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("write", errno.EPIPE)}, true},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", errno.ECONNABORTED)}, true},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ENETUNREACH)}, false},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, false},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, false},
		{&net.OpError{Op: "read", Err: net.ErrClosed}, false},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{ErrSilent, false},
		{ErrNoTerminator, false},
		{ErrAuthentication, false},
		{ErrV1Peer, false},
		{&SizeError{Contents: 1 << 23}, false},
	} {
		h := &HandshakeError{Stage: StageGarbage, Err: c.err}
		if h.HungUp() != c.want || h.Error() == "" || !errors.Is(h, c.err) {
			t.Errorf("%v: HungUp is %v", c.err, h.HungUp())
		}
	}
}
