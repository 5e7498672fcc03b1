package v1v2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

// Close ends every kind of call, wherever it waits, with net.ErrClosed. So does every later call.
func TestCloseUnblocks(t *testing.T) {
	ping := v1Bytes(mainnet, "ping", testBytes(8, 1))
	large := v1Bytes(mainnet, "block", testBytes(100_000, 1))
	var buf [100]byte
	never := make(chan struct{})
	defer close(never)
	for name, wait := range map[string]func(c, server *Conn) error{
		"Read":    func(c, _ *Conn) error { _, err := c.Read(buf[:]); return err },
		"WriteTo": func(c, _ *Conn) error { _, err := c.WriteTo(io.Discard); return err },
		"Read of a large message": func(c, server *Conn) error {
			server.NetConn().Write(make([]byte, 2)) // of its length
			_, err := c.Read(buf[:])
			return err
		},
		"Write":          func(c, _ *Conn) error { _, err := c.Write(ping); return err },
		"Write of much":  func(c, _ *Conn) error { _, err := c.Write(bytes.Repeat(ping, 2000)); return err },
		"Write of large": func(c, _ *Conn) error { _, err := c.Write(large); return err },
		"Write in pieces": func(c, _ *Conn) error {
			c.Write(large[:100])
			_, err := c.Write(large[100:])
			return err
		},
		"ReadFrom": func(c, _ *Conn) error { _, err := c.ReadFrom(bytes.NewReader(ping)); return err },
		"ReadFrom of large": func(c, _ *Conn) error {
			_, err := c.ReadFrom(bytes.NewReader(large))
			return err
		},
		"CloseWrite": func(c, _ *Conn) error {
			c.SetWriteDeadline(past)
			c.Write(ping)
			c.SetWriteDeadline(time.Now().Add(time.Microsecond))
			c.Write(ping) // leaves something to send
			c.SetWriteDeadline(time.Time{})
			return c.CloseWrite()
		},
		"a second Read": func(c, _ *Conn) error {
			go c.WriteTo(io.Discard)
			synctest.Wait()
			_, err := c.Read(buf[:])
			return err
		},
		"a second Write": func(c, _ *Conn) error {
			go c.Write(ping)
			synctest.Wait()
			_, err := c.Write(ping)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				client, server := connsOn(t, a, b)
				checkClose(t, client, func() error { return wait(client, server) })
				if !wiped(client) {
					t.Error("the keys are not wiped")
				}
			})
		})
	}
}

// checkClose checks that Close ends wait, and what calls return afterwards.
func checkClose(t *testing.T, c *Conn, wait func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	time.Sleep(time.Second)
	select {
	case err := <-ended:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: got %v", err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
	synctest.Wait()
	for name, call := range map[string]func() error{
		"Close":            c.Close,
		"CloseWrite":       c.CloseWrite,
		"Read":             func() error { _, err := c.Read(make([]byte, 1)); return err },
		"empty Read":       func() error { _, err := c.Read(nil); return err },
		"Write":            func() error { _, err := c.Write([]byte{1}); return err },
		"empty Write":      func() error { _, err := c.Write(nil); return err },
		"ReadFrom":         func() error { _, err := c.ReadFrom(bytes.NewReader([]byte{1})); return err },
		"WriteTo":          func() error { _, err := c.WriteTo(io.Discard); return err },
		"SetDeadline":      func() error { return c.SetDeadline(time.Time{}) },
		"SetReadDeadline":  func() error { return c.SetReadDeadline(past) },
		"SetWriteDeadline": func() error { return c.SetWriteDeadline(past) },
		"Handshake":        func() error { return c.Handshake(context.Background(), mainnet) },
	} {
		if err := call(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: got %v, want %v", name, err, net.ErrClosed)
		}
	}
	if c.RemoteAddr() == nil || c.LocalAddr() == nil {
		t.Error("no addresses after Close")
	}
}

// wiped reports whether the keys of c's session are zero.
func wiped(c *Conn) bool {
	n := 0
	for _, direction := range []string{"in", "out"} {
		ciphers := reflect.ValueOf(c.peer).Elem().FieldByName(direction).FieldByName("ciphers").Elem()
		if ciphers.FieldByName("length").Elem().FieldByName("stream").IsZero() {
			n++
		}
	}
	return n == 2
}

// Close wipes the keys once the last call has returned, and not before: it might use them.
func TestCloseWipesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		client, server := connsOn(t, a, b)
		ping := v1Bytes(mainnet, "ping", testBytes(8, 1))
		hold := make(chan bool)
		ended := make(chan error)
		go func() {
			_, err := client.WriteTo(writer(func(p []byte) (int, error) {
				<-hold
				return len(p), nil
			}))
			ended <- err
		}()
		if _, err := server.Write(ping); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := client.Close(); err != nil || wiped(client) {
			t.Errorf("Close: got %v, wiped %v, want no wiping while WriteTo runs", err, wiped(client))
		}
		client.Read(nil)
		if wiped(client) {
			t.Error("a call after Close has wiped the keys while WriteTo runs")
		}
		close(hold)
		if err := <-ended; !errors.Is(err, net.ErrClosed) || !wiped(client) {
			t.Errorf("WriteTo: got %v, wiped %v, want wiped", err, wiped(client))
		}
		if err := server.Close(); err != nil || !wiped(server) {
			t.Errorf("Close: got %v, wiped %v, want wiped at once", err, wiped(server))
		}
	})
}

// Close frees the memory of a message that was read in part, and ends the wait for memory.
func TestCloseFreesMemory(t *testing.T) {
	large := v1Bytes(mainnet, "block", testBytes(100_000, 1))
	synctest.Test(t, func(t *testing.T) {
		memory := transport.NewMemory(128 << 10)
		var conns [3]*Conn
		for i := range conns {
			a, b := net.Pipe()
			answered := make(chan *Conn)
			go func() {
				server, _ := Server(context.Background(), b, transport.Config{Magic: mainnet})
				answered <- server
			}()
			var err error
			if conns[i], err = Client(context.Background(), a, transport.Config{Magic: mainnet, Memory: memory}); err != nil {
				t.Fatal(err)
			}
			server := <-answered
			defer server.Close()
			if i < 2 {
				go server.Write(large)
			} else {
				server.Close()
			}
		}
		if n, err := conns[0].Read(make([]byte, 100)); n != 100 || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
		checkClose(t, conns[1], func() error { _, err := conns[1].Read(make([]byte, 1)); return err })
		if use := memory.Usage(); use.Taken == 0 || use.Waiting != 0 {
			t.Errorf("%+v, want only the first message", use)
		}
		if err := conns[0].Close(); err != nil {
			t.Error(err)
		}
		if use := memory.Usage(); use.Taken != 0 {
			t.Errorf("%+v after Close, want nothing in use", use)
		}
		if err := conns[2].Close(); err != nil {
			t.Error(err)
		}
	})
}
