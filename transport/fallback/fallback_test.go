package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/errno"
	"bip324proxy/transport"
)

const somePeer = "peer.example:8333"

// endsWith is a connection that accepts a number of bytes and then fails.
type endsWith struct {
	net.Conn // for methods that are not called
	takes    int
	says     int // number of bytes
	err      error
}

func (c *endsWith) Write(p []byte) (int, error) {
	n := min(c.takes, len(p))
	if c.takes -= n; n < len(p) {
		return n, c.err
	}
	return n, nil
}

func (c *endsWith) Read(p []byte) (int, error) {
	if n := min(c.says, len(p)); n > 0 {
		c.says -= n
		return n, nil
	}
	return 0, c.err
}

func (c *endsWith) SetDeadline(time.Time) error     { return nil }
func (c *endsWith) SetReadDeadline(time.Time) error { return nil }
func (c *endsWith) Close() error                    { return nil }

// The table has the exact conditions under which plaintext is spoken if everything else allows it.
func TestFallbackFacts(t *testing.T) {
	failsWith := func(op string, err error) error {
		return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, err)}
	}
	reset := failsWith("read", errno.ECONNRESET)
	for _, c := range []struct {
		name string
		conn endsWith
		v1   bool
	}{
		{"closed", endsWith{takes: 1 << 20, err: io.EOF}, true},
		{"reset", endsWith{takes: 1 << 20, err: reset}, true},
		{"aborted", endsWith{takes: 1 << 20, err: failsWith("read", errno.ECONNABORTED)}, true},
		{"reset after 24 bytes", endsWith{takes: 24, err: reset}, true},
		{"broken pipe after 24 bytes", endsWith{takes: 24, err: failsWith("write", errno.EPIPE)}, true},
		{"reset after 24 bytes and an answer", endsWith{takes: 24, says: 1, err: reset}, false},
		{"reset after 23 bytes", endsWith{takes: 23, err: reset}, false},
		{"broken pipe after 23 bytes", endsWith{takes: 23, err: failsWith("write", errno.EPIPE)}, false},
		{"reset at once", endsWith{err: reset}, false},
		{"closed after a byte", endsWith{takes: 1 << 20, says: 1, err: io.EOF}, false},
		{"reset after a byte", endsWith{takes: 1 << 20, says: 1, err: reset}, false},
		{"reset after a key", endsWith{takes: 1 << 20, says: transport.KeySize, err: reset}, false},
		{"reset after garbage", endsWith{takes: 1 << 20, says: transport.KeySize + 100, err: reset}, false},
		{"no terminator", endsWith{takes: 1 << 20, says: 5000, err: reset}, false},
		{"unreachable", endsWith{takes: 1 << 20, err: failsWith("read", syscall.EHOSTUNREACH)}, false},
		{"nothing acknowledged", endsWith{takes: 1 << 20, err: failsWith("read", syscall.ETIMEDOUT)}, false},
		{"network down", endsWith{takes: 24, err: failsWith("write", syscall.ENETDOWN)}, false},
		{"closed by us", endsWith{takes: 1 << 20, err: net.ErrClosed}, false},
		{"deadline", endsWith{takes: 1 << 20, err: os.ErrDeadlineExceeded}, false},
	} {
		for _, v1Answers := range []bool{true, false} {
			conn := c.conn
			again := c.conn // v2 fails in the same way
			third := &endsWith{takes: 1 << 20, err: reset}
			dials := 0
			unreachable := errors.New("unreachable")
			d := &Dialer{Mode: Always, Peers: new(Peers), FirstByteTimeout: time.Hour, RetryAfter: 1,
				Dial: func(context.Context, string, string) (net.Conn, error) {
					switch dials++; {
					case !v1Answers:
						return nil, unreachable
					case dials == 1:
						return &again, nil
					}
					return third, nil
				}}
			link, err := d.Upgrade(t.Context(), &conn, somePeer, transport.Config{Magic: mainnet})
			var failed *transport.HandshakeError
			switch {
			case !c.v1:
				if dials != 0 || link != (Link{}) || !errors.As(err, &failed) {
					t.Errorf("%s: got %d more dials, %+v, %v", c.name, dials, link, err)
				}
			case !v1Answers:
				if dials != 1 || link != (Link{}) || !errors.As(err, &failed) || !errors.Is(err, unreachable) {
					t.Errorf("%s, no second connection: got %d more dials, %+v, %v", c.name, dials, link, err)
				}
			case dials != 2 || link.V1 != third || link.V2 != nil || err != nil || !errors.As(link.Cause, &failed) || third.takes != 1<<20:
				t.Errorf("%s: got %d more dials, %+v, %v", c.name, dials, link, err)
			}
			if got := d.Peers.Lookup(somePeer); got != SpeaksUnknown { // the failure proves nothing
				t.Errorf("%s: known as %v", c.name, got)
			}

			// The same after another client's own v2 attempt.
			if failed == nil {
				errors.As(link.Cause, &failed)
			}
			d.NoteFailed(somePeer, &conn, failed)
			if got := d.Peers.Lookup(somePeer); (got == RefusedV2) != c.v1 {
				t.Errorf("%s, attempt of another client: known as %v", c.name, got)
			}
		}
	}
}

// The peer stays silent; the first limit to expire decides.
func TestFallbackFromSilence(t *testing.T) {
	errLeft := errors.New("the client left")
	for _, c := range []struct {
		name             string
		firstByte, all   time.Duration
		deadline, leaves time.Duration // of the caller; 0: never
		hearsOne         bool
		after            time.Duration
		want             error // nil: v1
	}{
		{"first byte", 3 * time.Second, 30 * time.Second, 0, 0, false, 3 * time.Second, nil},
		{"defaults", 0, 0, 0, 0, false, 3 * time.Second, nil},
		{"defaults through a proxy", 0, 0, 0, 0, false, 15 * time.Second, nil},
		{"whole handshake", 3 * time.Second, 2 * time.Second, 0, 0, false, 2 * time.Second, context.DeadlineExceeded},
		{"caller's deadline", 3 * time.Second, 30 * time.Second, 2 * time.Second, 0, false, 2 * time.Second, context.DeadlineExceeded},
		{"client gone", 3 * time.Second, 30 * time.Second, 0, 2 * time.Second, false, 2 * time.Second, errLeft},
		{"one byte", 3 * time.Second, 30 * time.Second, 0, 0, true, 30 * time.Second, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if c.leaves > 0 {
				time.AfterFunc(c.leaves, func() { cancel(errLeft) })
			}
			if c.deadline > 0 {
				var stop func()
				ctx, stop = context.WithTimeout(ctx, c.deadline)
				defer stop()
			}
			nc, peer := net.Pipe()
			defer peer.Close()
			go io.Copy(io.Discard, peer)
			if c.hearsOne {
				go peer.Write([]byte{1})
			}
			dials := 0
			second, other := net.Pipe()
			defer other.Close()
			defer second.Close()
			d := &Dialer{Mode: Always, FirstByteTimeout: c.firstByte, HandshakeTimeout: c.all, Direct: c.name != "defaults through a proxy",
				Dial: func(context.Context, string, string) (net.Conn, error) { dials++; return second, nil }}
			link, err := d.Upgrade(ctx, nc, somePeer, transport.Config{Magic: mainnet})
			if took := time.Since(begin); took != c.after {
				t.Errorf("%s: returned after %v, want %v", c.name, took, c.after)
			}
			switch {
			case c.want != nil:
				if !errors.Is(err, c.want) || dials != 0 || link != (Link{}) {
					t.Errorf("%s: got %d more dials, %+v, %v", c.name, dials, link, err)
				}
			case err != nil || dials != 1 || link.V1 != second || !errors.Is(link.Cause, transport.ErrSilent):
				t.Errorf("%s: got %d more dials, %+v, %v", c.name, dials, link, err)
			}
		})
	}
}

// While one connection fails, another proves that the peer speaks v2.
func TestProvenMeanwhile(t *testing.T) {
	d := &Dialer{Mode: Always, Peers: new(Peers), Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled for v1")
		return nil, io.EOF
	}}
	nc, peer := net.Pipe()
	go func() {
		io.ReadFull(peer, make([]byte, transport.KeySize))
		d.Peers.Note(somePeer, SpeaksV2)
		peer.Close()
	}()
	link, err := d.Upgrade(t.Context(), nc, somePeer, transport.Config{Magic: mainnet, Garbage: []byte{}})
	var failed *transport.HandshakeError
	if !errors.As(err, &failed) || link != (Link{}) {
		t.Errorf("got %+v, %v", link, err)
	}
}

// After the peer refused another client's v2 and where v1 is allowed, v2 is tried after a delay and
// on a new connection; for a minute, and not with known peers.
func TestRefusedV2(t *testing.T) {
	refusal := &transport.HandshakeError{Sent: transport.KeySize, Err: io.EOF}
	for _, c := range []struct {
		fallback Mode
		addr     string
		known    Speaks
		want     Speaks
		cause    error // why v2 is not tried at once; nil if it is
	}{
		{Never, somePeer, SpeaksUnknown, SpeaksUnknown, nil},
		{Never, "[fc00::1]:8333", SpeaksUnknown, SpeaksUnknown, nil},
		{Never, somePeer, SpeaksV1, SpeaksV1, nil},
		{Overlay, somePeer, SpeaksUnknown, SpeaksUnknown, nil},
		{Overlay, somePeer, SpeaksV1, SpeaksV1, nil},
		{Overlay, "[fc00::1]:8333", SpeaksUnknown, RefusedV2, ErrRefusedV2},
		{Overlay, "[fc00::1]:8333", SpeaksV2, SpeaksV2, nil},
		{Always, somePeer, SpeaksUnknown, RefusedV2, ErrRefusedV2},
		{Always, somePeer, SpeaksV1, SpeaksV1, ErrKnownV1},
		{Always, somePeer, SpeaksV2, SpeaksV2, nil},
	} {
		for _, later := range []time.Duration{0, time.Minute - 1, time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				unreachable := errors.New("no second one")
				began := time.Now()
				var redialled time.Duration
				d := &Dialer{Mode: c.fallback, Peers: new(Peers), Dial: func(context.Context, string, string) (net.Conn, error) {
					redialled = time.Since(began)
					return nil, unreachable
				}}
				if c.addr != somePeer {
					d.Overlay = func(context.Context, string, net.Addr) error { return nil }
				}
				d.Peers.Note(c.addr, c.known)
				d.NoteFailed(c.addr, nil, refusal)
				if got := d.Peers.Lookup(c.addr); got != c.want {
					t.Errorf("%v, %s, %v: known as %v, want %v", c.fallback, c.addr, c.known, got, c.want)
				}
				time.Sleep(later)
				began = time.Now()
				nc, peer := net.Pipe()
				sent := make(chan int64, 1)
				go func() {
					n, _ := io.CopyN(io.Discard, peer, transport.KeySize)
					peer.Close()
					sent <- n
				}()
				link, err := d.Upgrade(t.Context(), nc, c.addr, transport.Config{Magic: mainnet})
				_, closed := nc.Write([]byte{0})
				nc.Close()
				cause := c.cause
				if later == time.Minute && cause == ErrRefusedV2 {
					cause = nil
				}
				var right bool
				switch n := <-sent; cause {
				case nil:
					right = err != nil && n == transport.KeySize
				case ErrKnownV1:
					right = link.V1 == nc && link.Cause == cause && n <= 1
				case ErrRefusedV2:
					right = errors.Is(err, unreachable) && errors.Is(err, cause) && errors.Is(closed, io.ErrClosedPipe) && n == 0 &&
						retryAfter <= redialled && redialled < 2*retryAfter
				}
				if !right {
					t.Errorf("%v, %s, %v, after %v: got %+v, %v, dialled again after %v", c.fallback, c.addr, c.known, later, link, err, redialled)
				}
			})
		}
	}
}

// throughProxy is a Dial that connects to nothing.
func throughProxy(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("unreachable")
}

// Any number of cut connections leaves v2 notes, and the number of RefusedV2 notes is limited.
func TestRefusalsPushNothingOut(t *testing.T) {
	d := &Dialer{Mode: Always, Peers: new(Peers), Dial: throughProxy}
	d.Peers.Note(somePeer, SpeaksV2)
	for i := range 3 * maxPeers {
		d.NoteFailed(net.JoinHostPort("h", strconv.Itoa(i)), nil, &transport.HandshakeError{Sent: transport.KeySize, Err: io.EOF})
	}
	if d.Peers.Lookup(somePeer) != SpeaksV2 || d.Peers.v2.order.Len() != 1 || d.Peers.refused.order.Len() != maxRefused {
		t.Errorf("the peer is known as %v; %d known peers, %d refusals", d.Peers.Lookup(somePeer), d.Peers.v2.order.Len(), d.Peers.refused.order.Len())
	}
}
