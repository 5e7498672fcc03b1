package v1v2

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

// Close gives up the decision: its context ends, and what it returns nevertheless is closed and
// wiped.
func TestLaterCloseMeanwhile(t *testing.T) {
	for _, protocol := range []string{"v1", "v2", "an error"} {
		for name, wait := range map[string]func(c *Conn) error{
			"Write":      func(c *Conn) error { _, err := c.Write(versionMessage); return err },
			"ReadFrom":   func(c *Conn) error { _, err := c.ReadFrom(bytes.NewReader(versionMessage)); return err },
			"Handshake":  func(c *Conn) error { return c.Handshake(context.Background(), mainnet) },
			"CloseWrite": func(c *Conn) error { go c.Write(versionMessage); synctest.Wait(); return c.CloseWrite() },
			"Read":       func(c *Conn) error { go c.Write(versionMessage); _, err := c.Read(make([]byte, 1)); return err },
			"WriteTo":    func(c *Conn) error { go c.Write(versionMessage); _, err := c.WriteTo(io.Discard); return err },
		} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := net.Pipe()
					other, otherEnd := net.Pipe()
					session, _ := connsOn(t, other, otherEnd)
					conn := Later(a, func(ctx context.Context, _ [4]byte, _ []byte) (*transport.Conn, net.Conn, error) {
						<-ctx.Done()
						if cause := context.Cause(ctx); cause != net.ErrClosed {
							t.Errorf("the context's cause is %v", cause)
						}
						if name != "Handshake" {
							time.Sleep(time.Minute)
						}
						switch protocol {
						case "v1":
							return nil, other, nil
						case "v2":
							return session.peer, nil, nil
						}
						return nil, nil, context.Cause(ctx)
					})
					checkClose(t, conn, func() error { return wait(conn) })
					time.Sleep(time.Hour)
					synctest.Wait()
					if protocol != "an error" {
						if _, err := other.Read(make([]byte, 1)); err != io.ErrClosedPipe {
							t.Errorf("the connection that decide returned is not closed: %v", err)
						}
					}
					if protocol == "v2" && !wiped(session) {
						t.Error("its keys are not wiped")
					}
					if _, err := b.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("the peer got %v, want the end", err)
					}
				})
			})
		}
	}
}

// Close before the decision, when nothing was written.
func TestLaterCloseBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		conn := Later(a, speakV2(a))
		checkClose(t, conn, func() error { _, err := conn.Read(make([]byte, 1)); return err })
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer got %v, want the end", err)
		}
	})
}

// CloseWrite before anything was sent is the end in both directions.
func TestLaterCloseWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		conn := Later(a, speakV2(a))
		defer conn.Close()
		if _, err := conn.Write(versionMessage[:50]); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := conn.CloseWrite(); err != nil {
				t.Error(err)
			}
		}
		if n, err := b.Read(make([]byte, 1)); n > 0 || err != io.EOF {
			t.Errorf("the peer got %d, %v, want the end", n, err)
		}
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err != io.EOF {
			t.Errorf("Read: got %d, %v, want the end", n, err)
		}
		if n, err := conn.Write(versionMessage); n > 0 || err != io.ErrClosedPipe {
			t.Errorf("Write: got %d, %v, want %v", n, err, io.ErrClosedPipe)
		}
		if err := conn.Handshake(context.Background(), mainnet); err == nil {
			t.Error("Handshake has succeeded")
		}
		if err := conn.Close(); err != nil {
			t.Errorf("Close: got %v", err)
		}
	})
}
