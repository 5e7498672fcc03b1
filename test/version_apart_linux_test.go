package test

import (
	"net"
	"testing"
	"time"

	"bip324proxy/transport"
)

// answerLate is how long a peer waits with its key so that Bitcoin Core's message handler, which runs every 100 ms, has
// surely had its turn, and VERSION leaves with the version packet.
const answerLate = 300 * time.Millisecond

// VERSION leaves in one write with the version packet, or apart from it. Bitcoin Core does the one over a long round
// trip and mostly the other over a short one; so does the proxy with --shape core, and without it always the one.
func TestVersionApart(t *testing.T) {
	t.Parallel()
	through := func(t *testing.T, flags ...string) func(addr string) {
		p := startProxy(t, flags...)
		return func(addr string) {
			nc, code, err := connectThrough(p.addr, addr)
			if err != nil || code != 0 {
				t.Fatalf("reply %d, %v", code, err)
			}
			t.Cleanup(func() { nc.Close() })
			nc.Write(versionBytes)
		}
	}
	t.Run("off", func(t *testing.T) {
		connect := through(t)
		for range 5 {
			if versionApart(t, 0, connect) {
				t.Fatal("VERSION left apart from the version packet")
			}
		}
	})
	t.Run("core", func(t *testing.T) {
		connect := through(t, "--shape", "core")
		eventually(t, "VERSION leaves apart from the version packet", func() bool { return versionApart(t, 0, connect) })
		if versionApart(t, answerLate, connect) {
			t.Error("VERSION left apart, though it was due when the peer answered")
		}
	})
	t.Run("Bitcoin Core", func(t *testing.T) {
		core := startBitcoind(t, "core", "-listen=0", "-connect=0")
		connect := func(addr string) { ask[any](t, core, "addnode", addr, "onetry", true) }
		eventually(t, "VERSION leaves apart from the version packet", func() bool { return versionApart(t, 0, connect) })
		eventually(t, "VERSION leaves with the version packet", func() bool { return !versionApart(t, answerLate, connect) })
	})
}

// versionApart reports whether a program sends VERSION apart from its version packet to a peer that answers after the
// given time. connect makes the program connect.
func versionApart(t *testing.T, late time.Duration, connect func(addr string)) bool {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	connect(l.Addr().String()) // the system accepts
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	h, err := transport.NewHandshake(transport.Config{Magic: transport.Regtest.Magic}, false)
	if err != nil {
		t.Fatal(err)
	}
	receive := func() (n int, answer []byte) {
		buf := make([]byte, 1<<16)
		n, err := nc.Read(buf)
		if err == nil {
			_, answer, err = h.Receive(buf[:n])
		}
		if err != nil {
			t.Fatalf("stage %q, %v", h.Stage(), err)
		}
		return n, answer
	}
	_, answer := receive() // on loopback a write arrives whole
	time.Sleep(late)
	nc.Write(answer)
	second, _ := receive()
	if h.Stage() != transport.StageDone {
		t.Fatalf("the second write has %d bytes, and the handshake's stage is %q", second, h.Stage())
	}
	const terminatorAndVersionPacket = 16 + 20
	if second > terminatorAndVersionPacket {
		return false
	}
	if n, err := nc.Read(make([]byte, 1000)); n == 0 {
		t.Fatalf("after the version packet nothing came: %v", err)
	}
	return true
}
