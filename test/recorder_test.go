package test

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// recorder is a TCP relay that records both directions, like an eavesdropper.
type recorder struct {
	addr  string // listening address
	mu    sync.Mutex
	conns []*recording
}

// recording is one relayed connection.
type recording struct {
	mu                   sync.Mutex
	toTarget, fromTarget []byte
}

// startRecorder relays and records until the test ends.
func startRecorder(t *testing.T, target string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{addr: l.Addr().String()}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			rec := &recording{}
			r.mu.Lock()
			r.conns = append(r.conns, rec)
			r.mu.Unlock()
			relays.Go(func() { rec.relay(t.Context(), from, target) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		relays.Wait()
	})
	return r
}

// relay copies both ways, and passes a close on from either side, until ctx ends.
func (r *recording) relay(ctx context.Context, from net.Conn, target string) {
	defer from.Close()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return // like a target that hangs up
	}
	defer to.Close()
	var ways sync.WaitGroup
	way := func(dst, src net.Conn, record *[]byte) {
		_, err := io.Copy(io.MultiWriter(notes{r, record}, dst), src)
		if err != nil {
			dst.Close() // a reset ends both directions at once
			src.Close()
			return
		}
		dst.(*net.TCPConn).CloseWrite()
	}
	ways.Go(func() { way(to, from, &r.toTarget) })
	ways.Go(func() { way(from, to, &r.fromTarget) })
	stop := context.AfterFunc(ctx, func() { from.Close(); to.Close() })
	defer stop()
	ways.Wait()
}

// notes appends writes to one direction of a recording.
type notes struct {
	r      *recording
	record *[]byte
}

func (n notes) Write(b []byte) (int, error) {
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	*n.record = append(*n.record, b...)
	return len(b), nil
}

// bytes returns copies of both directions so far.
func (r *recording) bytes() (toTarget, fromTarget []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.toTarget), bytes.Clone(r.fromTarget)
}

// connections returns the connections so far, oldest first.
func (r *recorder) connections() []*recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.conns)
}

// last returns the newest connection.
func (r *recorder) last() *recording {
	all := r.connections()
	return all[len(all)-1]
}
