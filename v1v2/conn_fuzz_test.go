package v1v2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

// script is a fuzzer's input, from which decisions are read. At its end all are zero.
type script struct{ rest []byte }

func (s *script) next(n int) int {
	if len(s.rest) == 0 {
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return int(b) % n
}

// size returns a size: most are small, some are around the thresholds.
func (s *script) size() int {
	switch s.next(8) {
	case 5:
		return 16<<10 - 64 + s.next(128)
	case 6:
		return 300 * s.next(256)
	case 7:
		return 1 + s.next(24)
	}
	return s.next(64)
}

func (s *script) duration() time.Duration { return time.Duration(s.next(16)) * time.Second }

// lane is one direction between two Conns: what is written, how it is written and read, and what
// must arrive.
type lane struct {
	stream, want []byte
	writes       []step
	reads        []step
	loop         bool // the rest by ReadFrom and WriteTo
}

// step is one Write or Read.
type step struct {
	size    int
	pause   time.Duration // before
	timeout time.Duration // 0: none
	loop    bool          // by WriteTo, until the deadline
}

func (s *script) lane(stream []byte) *lane {
	l := &lane{stream: stream, want: bytes.Clone(stream), loop: s.next(2) == 1}
	for range 1 + s.next(6) {
		kind, payload := s.next(8), testBytes(s.size(), 1)
		raw := v1Bytes(mainnet, []string{"tx", "ping", "futuretype", "verack"}[s.next(4)], payload)
		switch kind {
		case 0:
			raw[20] ^= 1 // the checksum
		case 1:
			raw[5] = 1 // the type
		default:
			l.want = append(l.want, raw...)
		}
		l.stream = append(l.stream, raw...)
	}
	for range s.next(16) {
		l.writes = append(l.writes, step{s.size(), s.duration(), s.duration(), false})
	}
	for range s.next(16) {
		l.reads = append(l.reads, step{1 + s.size(), s.duration(), s.duration(), s.next(4) == 1})
	}
	return l
}

// write writes the lane's stream to c.
func (l *lane) write(c *Conn) error {
	left := bytes.Clone(l.stream)
	for _, w := range l.writes {
		time.Sleep(w.pause)
		var at time.Time
		if w.timeout > 0 {
			at = time.Now().Add(w.timeout)
		}
		c.SetWriteDeadline(at)
		p := left[:min(len(left), w.size)]
		n, err := c.Write(p)
		if n < len(p) && err == nil || err != nil && !(at.After(past) && isTimeout(err) && !time.Now().Before(at)) {
			return fmt.Errorf("wrote %d of %d bytes with the deadline %v: %w", n, len(p), at, err)
		}
		clear(p[:n])
		left = left[n:]
	}
	c.SetWriteDeadline(time.Time{})
	if l.loop {
		n, err := c.ReadFrom(bytes.NewReader(left))
		if err != nil || n != int64(len(left)) {
			return fmt.Errorf("sent %d of %d bytes: %w", n, len(left), err)
		}
	} else if n, err := c.Write(left); err != nil || n != len(left) {
		return fmt.Errorf("wrote %d of %d bytes: %w", n, len(left), err)
	}
	return nil
}

// read checks what arrives at c.
func (l *lane) read(c *Conn) error {
	left := l.want
	take := func(p []byte) error {
		if !bytes.HasPrefix(left, p) {
			return fmt.Errorf("after %d bytes: got %x", len(l.want)-len(left), p[:min(len(p), 30)])
		}
		left = left[len(p):]
		return nil
	}
	for _, r := range l.reads {
		time.Sleep(r.pause)
		if r.timeout == 0 && len(left) == 0 {
			break
		}
		var at time.Time
		if r.timeout > 0 {
			at = time.Now().Add(r.timeout)
		}
		c.SetReadDeadline(at)
		var err error
		if r.loop && r.timeout > 0 {
			_, err = c.WriteTo(writer(func(p []byte) (int, error) { return len(p), take(p) }))
		} else {
			var n int
			p := make([]byte, r.size)
			n, err = c.Read(p)
			err = errors.Join(take(p[:n]), err)
		}
		if err != nil && !(errors.Is(err, os.ErrDeadlineExceeded) && at.After(past) && !time.Now().Before(at)) {
			return fmt.Errorf("with the deadline %v: %w", at, err)
		}
	}
	c.SetReadDeadline(time.Time{})
	rest := make([]byte, len(left))
	_, err := io.ReadFull(c, rest)
	return errors.Join(take(rest), err)
}

// choppy is a socket from which no more than a few bytes are read at a time, if most is not zero.
type choppy struct {
	net.Conn
	most atomic.Int64
}

func (c *choppy) Read(p []byte) (int, error) {
	if most := c.most.Load(); most > 0 {
		p = p[:min(len(p), int(most))]
	}
	return c.Conn.Read(p)
}

// Whatever is written, read and timed out on in whichever pieces, both streams arrive as they
// were written.
func FuzzConn(f *testing.F) {
	f.Add([]byte{})
	for seed := range uint64(12) {
		f.Add(testBytes(200, seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{input}
			a, b := net.Pipe()
			ends := [2]*choppy{{Conn: a}, {Conn: b}}
			var up []byte
			later := s.next(2) == 1
			if later {
				up = versionMessage
			}
			lanes := [2]*lane{s.lane(up), s.lane(nil)}
			total := len(lanes[0].stream) + len(lanes[1].stream)
			chop := func() { // not during the handshake: over net.Pipe both would write
				for _, end := range ends {
					if s.next(2) == 1 {
						end.most.Store(int64(max(1+s.size(), total/500)))
					}
				}
			}
			memory := transport.NewMemory(128 << 10)
			var client, server *Conn
			results := make(chan error, 4)
			begin := func(c *Conn, out, in *lane) {
				go func() { results <- out.write(c) }()
				go func() { results <- in.read(c) }()
			}
			if later {
				client = Later(a, speakV2(ends[0]))
				begin(client, lanes[0], lanes[1])
			}
			answered := make(chan error)
			go func() {
				var err error
				server, err = Server(context.Background(), ends[1], transport.Config{Magic: mainnet, Memory: memory})
				answered <- err
			}()
			var err error
			if !later {
				client, err = Client(context.Background(), ends[0], transport.Config{Magic: mainnet, Memory: memory})
			}
			if err := errors.Join(err, <-answered); err != nil {
				t.Fatal(err)
			}
			chop()
			if !later {
				begin(client, lanes[0], lanes[1])
			}
			begin(server, lanes[1], lanes[0])
			for range 4 {
				if err := <-results; err != nil {
					t.Error(err)
					client.Close()
					server.Close()
				}
			}
			client.Close()
			server.Close()
			synctest.Wait()
			if use := memory.Usage(); use.Taken > 0 {
				t.Errorf("%+v, want no memory in use", use)
			}
			if !wiped(client) || !wiped(server) {
				t.Error("the keys are not wiped")
			}
		})
	})
}
