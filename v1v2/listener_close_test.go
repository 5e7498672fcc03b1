package v1v2

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestListenerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		semaphore := make(chan struct{}, 1)
		h := newHall(t, func(l *Listener) { l.MaxHandshakes, l.Config.Semaphore = 5, semaphore })
		first := h.dial("192.0.2.1")
		ours, err := h.Accept()
		if err != nil {
			t.Fatal(err)
		}
		theirs := (<-first).conn

		open := []net.Conn{h.connect("192.0.2.2"), h.connect("192.0.2.3"), h.connect("192.0.2.4")}
		go open[1].Write(mainnet[:])
		go open[2].Write(testBytes(64, 1)) // and it does not take the answer
		ready := (<-h.dial("192.0.2.5")).conn
		open = append(open, ready)
		synctest.Wait()
		semaphore <- struct{}{}
		turn := h.connect("192.0.2.6") // waits for the semaphore
		open = append(open, turn)
		go turn.Write(testBytes(64, 2))
		synctest.Wait()

		if err := h.Close(); err != nil {
			t.Errorf("got %v", err)
		}
		for i, nc := range open {
			nc.SetReadDeadline(time.Now().Add(time.Hour))
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("connection %d is open", i)
			}
		}
		ready.Close()
		if _, err := h.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: got %v", err)
		}
		if err := h.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed twice: got %v", err)
		}
		checkTalk(t, theirs, ours.(*Conn)) // what was accepted stays
		theirs.Close()
		ours.Close()
		if f := h.failures(); len(f) > 0 {
			t.Errorf("got failures: %v", f)
		}
	})
}

func TestListenerCloseEndsAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, nil)
		done := make(chan error)
		go func() {
			nc, err := h.Accept()
			if nc != nil {
				t.Errorf("got a connection: %v", nc)
			}
			done <- err
		}()
		synctest.Wait()
		h.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) || err.Error() != "accept tcp 203.0.113.1:8333: use of closed network connection" {
			t.Errorf("got %v", err)
		}
	})
}

func TestListenerCloseFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, nil)
		h.Close()
		if _, err := h.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestListenerCloseFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		semaphore := make(chan struct{}, 1)
		h := newHall(t, func(l *Listener) { l.MaxHandshakes, l.Config.Semaphore = 2, semaphore })
		go h.Accept()
		ready := h.dial("192.0.2.1") // is returned
		synctest.Wait()
		(<-ready).conn.Close()
		first, second := h.dial("192.0.2.2"), h.dial("192.0.2.3")
		synctest.Wait()
		third := h.dial("192.0.2.4")
		synctest.Wait()
		h.Close()
		(<-first).conn.Close()
		(<-second).conn.Close()
		if d := <-third; d.err == nil {
			t.Error("a handshake was done over the limit")
		}
		if f := h.failures(); len(f) > 0 {
			t.Errorf("got %v", f)
		}
	})
}
