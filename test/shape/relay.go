package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// relay stands between a proxy and a node: it records the time, the direction and the size of all
// that it reads of one connection, and passes it on after a delay.
type relay struct {
	listener *net.TCPListener
	target   string
	delay    time.Duration // in each direction

	mu       sync.Mutex
	segments []sighting
	conns    int       // connections so far
	ended    time.Time // when the first of them ended
}

// sighting is a Segment by the clock.
type sighting struct {
	at    time.Time
	up    bool
	bytes int
}

// startRelay listens on loopback until ctx ends.
func startRelay(ctx context.Context, target string, delay time.Duration) (*relay, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, target: target, delay: delay}
	context.AfterFunc(ctx, func() { l.Close() })
	go r.serve(ctx)
	return r, nil
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) serve(ctx context.Context) {
	for {
		near, err := r.listener.AcceptTCP()
		if err != nil {
			return // ctx has ended
		}
		r.mu.Lock()
		r.conns++
		first := r.conns == 1
		r.mu.Unlock()
		go r.relay(ctx, near, first)
	}
}

// relay passes one connection on; only the first is recorded.
func (r *relay) relay(ctx context.Context, near *net.TCPConn, record bool) {
	defer near.Close()
	far, err := net.Dial("tcp", r.target)
	if err != nil {
		return // the wallet sees its connection end, which counts
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() {
		near.Close()
		far.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { r.pass(far.(*net.TCPConn), near, true, record) })
	both.Go(func() { r.pass(near, far.(*net.TCPConn), false, record) })
	both.Wait()
	if record {
		r.mu.Lock()
		r.ended = time.Now()
		r.mu.Unlock()
	}
}

// late is what was read, and when it is to be written.
type late struct {
	due   time.Time
	bytes []byte
}

// pass reads from src, and writes to dst after the delay.
func (r *relay) pass(dst, src *net.TCPConn, up, record bool) {
	queue := make(chan late, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		var err error
		for next := range queue {
			if err == nil {
				time.Sleep(time.Until(next.due))
				_, err = dst.Write(next.bytes)
			}
		}
		if err != nil {
			src.CloseRead() // what it sends has nowhere to go
		}
		dst.CloseWrite()
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := src.Read(buffer)
		now := time.Now()
		if n > 0 {
			if record {
				r.mu.Lock()
				r.segments = append(r.segments, sighting{now, up, n})
				r.mu.Unlock()
			}
			queue <- late{now.Add(r.delay), append([]byte(nil), buffer[:n]...)}
		}
		if err != nil {
			break
		}
	}
	close(queue)
	writer.Wait()
}

// seen returns the segments from began on, in the order of time, that were read within length.
func (r *relay) seen(began time.Time, length time.Duration) (segments []Segment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.segments {
		if at := s.at.Sub(began).Truncate(time.Microsecond); at >= 0 && at < length {
			segments = append(segments, Segment{At: at, Up: s.up, Bytes: s.bytes})
		}
	}
	slices.SortStableFunc(segments, func(a, b Segment) int { return cmp.Compare(a.At, b.At) }) // both directions append
	return segments
}

// dialSOCKS connects to dest through the SOCKS5 proxy at addr.
func dialSOCKS(ctx context.Context, addr, dest string) (net.Conn, error) {
	to, err := net.ResolveTCPAddr("tcp", dest) // an address: nothing is looked up
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	request := append([]byte{5, 1, 0, 5, 1, 0, 1}, to.IP.To4()...)
	request = append(request, byte(to.Port>>8), byte(to.Port))
	var reply [12]byte
	if _, err = conn.Write(request); err == nil {
		_, err = io.ReadFull(conn, reply[:])
	}
	if err == nil && [2]byte(reply[2:]) != [2]byte{5, 0} {
		err = fmt.Errorf("the SOCKS reply is % x", reply)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return conn, nil
}
