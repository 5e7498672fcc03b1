package v1v2

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

func TestListenerV1(t *testing.T) {
	version := v1Bytes(mainnet, "version", testBytes(6000, 1))
	answer := []byte("this is not checked")
	for _, size := range []int{1, 3, 15, 16, 17, 4159, 4160, len(version)} {
		synctest.Test(t, func(t *testing.T) {
			h := newHall(t, func(l *Listener) { l.AllowV1 = true })
			theirs := h.connect("192.0.2.1")
			go func() {
				for b := version; len(b) > 0; b = b[min(size, len(b)):] {
					theirs.Write(b[:min(size, len(b))])
				}
				got, err := io.ReadAll(theirs)
				if !bytes.Equal(got, answer) || err != nil {
					t.Errorf("chunks of %d: the peer got %q, %v", size, got, err)
				}
			}()
			nc, err := h.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c := nc.(*Conn)
			if _, ok := c.SessionID(); ok || c.Transport() != "v1" {
				t.Errorf("got %q, session id %v", c.Transport(), ok)
			}
			got := make([]byte, len(version))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, version) {
				t.Errorf("chunks of %d: got %x, %v", size, got, err)
			}
			c.SetReadDeadline(time.Now().Add(time.Hour)) // the handshake's is gone
			if _, err := c.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(h.begun) != time.Hour {
				t.Errorf("got %v after %v", err, time.Since(h.begun))
			}
			c.Write(answer)
			c.Close()
		})
	}
}

func TestListenerV1CloseWrite(t *testing.T) {
	f := newFakeListener()
	l := &Listener{Listener: f, Config: transport.Config{Magic: mainnet}, AllowV1: true}
	defer l.Close()
	theirs, accepted := testkit.TCPPair(t)
	f.next <- accepted
	version := v1Bytes(mainnet, "version", testBytes(100, 1))
	theirs.Write(version)
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours := nc.(*Conn)
	defer ours.Close()
	ours.Write(version)
	if err := ours.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(theirs); err != nil || !bytes.Equal(got, version) {
		t.Errorf("the peer got %x, %v", got, err)
	}
	theirs.Write(version)
	theirs.Close()
	if got, err := io.ReadAll(ours); err != nil || !bytes.Equal(got, append(version, version...)) {
		t.Errorf("got %x, %v", got, err)
	}
}
