package v1v2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

var past = time.Unix(1, 0)

// timesOut checks that f fails at the deadline, to the moment.
func timesOut(t *testing.T, after time.Duration, f func() (int, error)) (n int) {
	t.Helper()
	began := time.Now()
	n, err := f()
	if !isTimeout(err) || time.Since(began) != after {
		t.Errorf("got %v after %v, want a timeout after %v", err, time.Since(began), after)
	}
	return n
}

// isTimeout reports whether err is a deadline's, and a net.Error by itself, as callers expect.
func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout() && errors.Is(err, os.ErrDeadlineExceeded)
}

// A read deadline works before, during and after a Read, can be set again, and loses nothing.
func TestReadDeadline(t *testing.T) {
	for name, payload := range map[string][]byte{"small": testBytes(8, 1), "large": testBytes(100_000, 1)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				g := &gate{Conn: b}
				client, server := connsOn(t, a, g)
				g.shut = true
				raw := v1Bytes(mainnet, "tx", payload)
				if _, err := server.Write(append(bytes.Clone(raw), raw...)); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, len(raw))
				read := func() (int, error) { return client.Read(buf) }
				pass := func(n int) {
					go b.Write(g.held[:n])
					g.held = g.held[n:]
				}

				client.SetReadDeadline(past)
				timesOut(t, 0, read)
				client.SetReadDeadline(time.Now().Add(time.Second))
				timesOut(t, time.Second, read)
				time.AfterFunc(time.Second, func() { client.SetReadDeadline(past) })
				client.SetReadDeadline(time.Now().Add(time.Minute))
				timesOut(t, time.Second, read)
				client.SetReadDeadline(time.Time{})
				passed := 0
				for _, cut := range []int{1, 2, 3, 4, 20, 40, 16 << 10, 50_000} { // within the first packet
					if cut >= len(payload) {
						break
					}
					pass(cut - passed)
					passed = cut
					time.AfterFunc(time.Second, func() { client.SetReadDeadline(past) })
					timesOut(t, time.Second, read)
					timesOut(t, 0, read)
					client.SetReadDeadline(time.Time{})
				}
				pass(len(g.held))
				if _, err := io.ReadFull(client, buf); err != nil || !bytes.Equal(buf, raw) {
					t.Fatalf("got %x, %v", buf, err)
				}
				// A deadline counts for what has arrived, too.
				if n, err := client.Read(buf[:10]); n != 10 || err != nil {
					t.Fatalf("got %d, %v", n, err)
				}
				client.SetReadDeadline(past)
				timesOut(t, 0, read)
				client.SetReadDeadline(time.Now().Add(time.Hour))
				if _, err := io.ReadFull(client, buf[10:]); err != nil || !bytes.Equal(buf, raw) {
					t.Fatalf("got %x, %v", buf, err)
				}
			})
		})
	}
}

// A write deadline loses nothing and repeats nothing: Write says what it has taken, even if it was
// interrupted within a packet.
func TestWriteDeadline(t *testing.T) {
	small, large := v1Bytes(mainnet, "ping", testBytes(8, 1)), v1Bytes(mainnet, "block", testBytes(100_000, 1))
	for name, pieces := range map[string][][]byte{
		"small":  {small, small[:30], small[30:]},
		"large":  {large, small, large},
		"pieces": {large[:24], large[24:], large[:50_000], large[50_000:], small},
		"many":   {bytes.Repeat(small, 2000)},
		"mixed":  {bytes.Join([][]byte{small, large, small}, nil)},
	} {
		for _, step := range []int{0, 1, 19, 1000, 20_000} { // what the peer takes before each deadline
			t.Run(fmt.Sprint(name, " ", step), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { writeWithDeadlines(t, pieces, step) })
			})
		}
	}
}

func writeWithDeadlines(t *testing.T, pieces [][]byte, step int) {
	a, b := net.Pipe()
	v := &valve{Conn: b, credit: make(chan int, 1000), left: 1 << 20}
	client, server := connsOn(t, a, v)
	v.left = 0
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(server)
		got <- all
	}()
	const most = 100 // deadlines
	deadlines := 0
	for _, p := range pieces {
		for ended := false; !ended; {
			if deadlines < most {
				client.SetWriteDeadline(time.Now().Add(time.Second))
				v.credit <- step
			}
			n, err := client.Write(p)
			p = p[n:]
			if ended = err == nil; ended {
				if len(p) > 0 {
					t.Fatalf("%d bytes were not taken, without an error", len(p))
				}
				break
			}
			if !isTimeout(err) {
				t.Fatal(err)
			}
			client.SetWriteDeadline(past)
			if n := timesOut(t, 0, func() (int, error) { return client.Write(p) }); n != 0 {
				t.Fatalf("took %d bytes after the deadline", n)
			}
			if deadlines++; deadlines == most {
				client.SetWriteDeadline(time.Time{})
				close(v.credit)
			}
		}
	}
	if deadlines == 0 && step < len(pieces[0]) {
		t.Error("no deadline has passed")
	}
	if deadlines < most {
		client.SetWriteDeadline(time.Time{})
		close(v.credit)
	}
	if err := client.CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, want := <-got, bytes.Join(pieces, nil); !bytes.Equal(got, want) {
		t.Errorf("the peer got %d bytes, want %d", len(got), len(want))
	}
}

// valve is a socket whose reads wait for credit: a number of bytes, or no limit when it is closed.
type valve struct {
	net.Conn
	credit chan int
	left   int
}

func (v *valve) Read(p []byte) (int, error) {
	for v.left == 0 {
		n, ok := <-v.credit
		if !ok {
			return v.Conn.Read(p)
		}
		v.left = n
	}
	n, err := v.Conn.Read(p[:min(len(p), v.left)])
	v.left -= n
	return n, err
}

// A read that waits for memory ends at the deadline, and goes on when there is some.
func TestDeadlineWhileWaitingForMemory(t *testing.T) {
	large := v1Bytes(mainnet, "block", testBytes(100_000, 1))
	synctest.Test(t, func(t *testing.T) {
		memory := transport.NewMemory(128 << 10)
		var conns [2]*Conn
		for i := range conns {
			a, b := net.Pipe()
			var server *Conn
			done := make(chan error)
			go func() {
				var err error
				server, err = Server(context.Background(), b, transport.Config{Magic: mainnet})
				done <- err
			}()
			var err error
			conns[i], err = Client(context.Background(), a, transport.Config{Magic: mainnet, Memory: memory})
			if err := errors.Join(err, <-done); err != nil {
				t.Fatal(err)
			}
			go server.Write(large)
			defer server.Close()
			defer conns[i].Close()
		}
		got := make([]byte, len(large))
		if n, err := conns[0].Read(got[:100]); n != 100 || err != nil { // holds the memory
			t.Fatalf("got %d, %v", n, err)
		}
		conns[1].SetReadDeadline(time.Now().Add(time.Second))
		timesOut(t, time.Second, func() (int, error) { return conns[1].Read(got[100:]) })
		conns[1].SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { conns[1].SetReadDeadline(past) })
		timesOut(t, time.Second, func() (int, error) { return conns[1].Read(got[100:]) })
		if _, err := io.ReadFull(conns[0], got[100:]); err != nil || !bytes.Equal(got, large) {
			t.Fatal("the first message differs: ", err)
		}
		conns[1].SetReadDeadline(time.Time{})
		clear(got)
		if _, err := io.ReadFull(conns[1], got); err != nil || !bytes.Equal(got, large) {
			t.Fatal("the second message differs: ", err)
		}
		if use := memory.Usage(); use.Taken != 0 || use.Waiting != 0 {
			t.Errorf("%+v, want nothing in use", use)
		}
	})
}

// Deadlines end the loops, too, which can go on.
func TestDeadlineOfLoops(t *testing.T) {
	ping := v1Bytes(mainnet, "ping", testBytes(8, 1))
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		client, server := connsOn(t, a, b)
		var got bytes.Buffer
		client.SetReadDeadline(time.Now().Add(time.Second))
		_, err := client.WriteTo(&got)
		checkEnded(t, err, PeerSide, is(os.ErrDeadlineExceeded))
		client.SetReadDeadline(time.Time{})
		server.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = server.ReadFrom(bytes.NewReader(ping)) // the client does not read
		checkEnded(t, err, PeerSide, is(os.ErrDeadlineExceeded))
		server.SetWriteDeadline(time.Time{})
		go func() {
			server.ReadFrom(bytes.NewReader(ping))
			server.Close()
		}()
		if n, err := client.WriteTo(&got); n != 64 || err != nil || !bytes.Equal(got.Bytes(), append(ping, ping...)) {
			t.Errorf("got %d, %v: %x", n, err, got.Bytes())
		}
	})
}
