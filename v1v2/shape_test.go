package v1v2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

// cellsBegin is when cells begin, unless much was sent before.
const cellsBegin = 20 * time.Second

// sizesConn notes the sizes of writes.
type sizesConn struct {
	net.Conn
	mu    sync.Mutex
	sizes []int
}

func (c *sizesConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sizes = append(c.sizes, len(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// take returns the sizes since the last call.
func (c *sizesConn) take() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sizes := c.sizes
	c.sizes = nil
	return sizes
}

// shapedConns returns a Conn whose writes have a shape and are noted, and the other end.
func shapedConns(t *testing.T, shape transport.Shape) (client, server *Conn, noted *sizesConn) {
	t.Helper()
	a, b := net.Pipe()
	noted = &sizesConn{Conn: a}
	failed := make(chan error, 1)
	go func() {
		var err error
		server, err = Server(context.Background(), b, transport.Config{Magic: mainnet})
		failed <- err
	}()
	client, err := Client(context.Background(), noted, transport.Config{Magic: mainnet, Shape: shape})
	if other := <-failed; err != nil || other != nil {
		t.Fatalf("handshake: got %v, %v", err, other)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server, noted
}

// What is written leaves in cells alone, in whatever pieces and by whatever call, and CloseWrite sends
// it all.
func TestConnInCells(t *testing.T) {
	var stream []byte
	for i, n := range []int{8, 0, 300, 1000, 5000, 61, 1004, 20_000} {
		stream = append(stream, v1Bytes(mainnet, []string{"ping", "tx", "some type"}[i%3], testBytes(n, uint64(i)))...)
	}
	for name, send := range map[string]func(c *Conn) error{
		"Write": func(c *Conn) error { _, err := c.Write(stream); return err },
		"Write in pieces": func(c *Conn) error {
			for piece := range slices.Chunk(stream, 77) {
				if _, err := c.Write(piece); err != nil {
					return err
				}
			}
			return nil
		},
		"ReadFrom": func(c *Conn) error { _, err := c.ReadFrom(bytes.NewReader(stream)); return err },
		"ReadFrom a Reader, for a long time": func(c *Conn) error {
			r, w := io.Pipe()
			go func() {
				for piece := range slices.Chunk(stream, 700) {
					w.Write(piece)
					time.Sleep(3 * time.Second)
				}
				w.Close()
			}()
			_, err := c.ReadFrom(NewReader(r, mainnet))
			return err
		},
		"Write after deadlines": func(c *Conn) error {
			rest := stream
			for len(rest) > 0 {
				c.SetWriteDeadline(time.Now().Add(time.Second))
				n, err := c.Write(rest[:min(len(rest), 500)])
				if err != nil {
					return err
				}
				rest = rest[n:]
				time.Sleep(2 * time.Second)
				if n, err := c.Write([]byte("late")); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a late Write: %d, %v", n, err)
				}
			}
			return c.SetWriteDeadline(time.Time{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, noted := shapedConns(t, transport.Shape{Mode: transport.ShapeCover})
				received := make(chan []byte)
				go func() {
					b, err := io.ReadAll(server)
					if err != nil {
						t.Error(err)
					}
					received <- b
				}()
				time.Sleep(cellsBegin + time.Millisecond)
				noted.take()
				if err := send(client); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if err := client.CloseWrite(); err != nil {
					t.Error(err)
				}
				if got := <-received; !bytes.Equal(got, stream) {
					t.Errorf("received %d bytes, want %d", len(got), len(stream))
				}
				for _, n := range noted.take() {
					if n != 1024 {
						t.Errorf("a write of %d bytes", n)
					}
				}
			})
		})
	}
}

// Close ends every call that waits while cells are sent, with net.ErrClosed, and wipes the keys.
func TestCloseInCells(t *testing.T) {
	large := v1Bytes(mainnet, "block", testBytes(100_000, 1))
	for name, wait := range map[string]func(c *Conn) error{
		"Write of much":  func(c *Conn) error { _, err := c.Write(bytes.Repeat(large, 2)); return err },
		"ReadFrom":       func(c *Conn) error { _, err := c.ReadFrom(bytes.NewReader(large)); return err },
		"CloseWrite":     func(c *Conn) error { c.Write(v1Bytes(mainnet, "tx", testBytes(5000, 1))); return c.CloseWrite() },
		"a second Write": func(c *Conn) error { go c.Write(large); synctest.Wait(); _, err := c.Write(large); return err },
		"Read":           func(c *Conn) error { _, err := c.Read(make([]byte, 1)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// No tick comes during the test: one that waited for the call's mutex would stop the bubble's clock.
				client, server, _ := shapedConns(t, transport.Shape{Mode: transport.ShapeCover, Every: time.Minute})
				began := time.Now()
				reading := make(chan struct{})
				go func() {
					defer close(reading)
					server.SetReadDeadline(began.Add(cellsBegin + 1)) // takes the first cell
					server.Read(make([]byte, 1))
				}()
				<-reading
				checkClose(t, client, func() error { return wait(client) })
				if !wiped(client) {
					t.Error("the keys are not wiped")
				}
			})
		})
	}
}

// Close ends a cell that the peer does not take, and wipes the keys then.
func TestCloseWhileCellBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _, _ := shapedConns(t, transport.Shape{Mode: transport.ShapeCover})
		time.Sleep(time.Minute)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !wiped(client) {
			t.Error("the keys are not wiped")
		}
	})
}

// A Listener's answers to v2 peers have its shape; a peer that speaks v1 is answered as it was.
func TestListenerInCells(t *testing.T) {
	for name, v1 := range map[string]bool{"v1": true, "v2": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeListener()
				theirs, ours := net.Pipe()
				noted := &sizesConn{Conn: ours}
				f.next <- addressed{noted, net.TCPAddrFromAddrPort(local)}
				l := &Listener{Listener: f, AllowV1: true, Config: transport.Config{Magic: mainnet, Shape: transport.Shape{Mode: transport.ShapeCover}}}
				defer l.Close()
				hello, answer := v1Bytes(mainnet, "version", testBytes(100, 1)), v1Bytes(mainnet, "verack", nil)
				accepted := make(chan *Conn, 1)
				go func() {
					c, err := l.Accept()
					if err != nil {
						t.Error(err)
						return
					}
					accepted <- c.(*Conn)
				}()
				var peer net.Conn = theirs
				if !v1 {
					var err error
					if peer, err = Client(context.Background(), theirs, transport.Config{Magic: mainnet}); err != nil {
						t.Fatal(err)
					}
				}
				defer peer.Close()
				go peer.Write(hello)
				c := <-accepted
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, len(hello))); err != nil {
					t.Error(err)
				}
				got := make([]byte, 2*len(answer))
				read := make(chan error, 1)
				go func() {
					_, err := io.ReadFull(peer, got)
					io.Copy(io.Discard, peer)
					read <- err
				}()
				write := func() []int {
					noted.take()
					if _, err := c.Write(answer); err != nil {
						t.Error(err)
					}
					synctest.Wait()
					return noted.take()
				}
				first := write()
				time.Sleep(cellsBegin + time.Millisecond)
				second := write()
				time.Sleep(10 * time.Second)
				later := noted.take()
				if v1 && (!slices.Equal(first, []int{len(answer)}) || !slices.Equal(second, first) || len(later) > 0) ||
					!v1 && (!slices.Equal(first, []int{1024}) || len(second) > 0 || len(later) < 3) {
					t.Errorf("the writes are %v, then %v, then %v", first, second, later)
				}
				c.Close()
				if err := <-read; err != nil || !bytes.Equal(got, append(answer, answer...)) {
					t.Errorf("the peer got %x, %v", got, err)
				}
			})
		})
	}
}
