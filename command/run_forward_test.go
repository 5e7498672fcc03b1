package command

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/socks"
)

// redirectedListener is a listener whose connections were meant to go to 192.0.2.1:8333.
type redirectedListener struct{ net.Listener }

func (redirectedListener) Destination(net.Conn) (netip.AddrPort, error) {
	return netip.MustParseAddrPort("192.0.2.1:8333"), nil
}

func listenForTest(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// forwardOne forwards a connection by a proxy. It returns the ends that COMMAND and the proxy
// have.
func forwardOne(t *testing.T) (f *forwarder, command, passed net.Conn) {
	t.Helper()
	server, taken := listenForTest(t), redirectedListener{listenForTest(t)}
	up, err := socks.ParseUpstream("socks5://" + server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f = &forwarder{guest: &guest{log: slog.New(slog.DiscardHandler)}, up: up, places: make(chan struct{}, 4)}
	f.ctx, f.cancel = context.WithCancel(t.Context())
	f.serve([]net.Listener{taken})
	if command, err = net.Dial("tcp", taken.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Close() })
	if passed, err = server.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { passed.Close() })
	for _, step := range []struct{ asked, answer string }{
		{"\x05\x01\x00", "\x05\x00"},
		{"\x05\x01\x00\x03\x09192.0.2.1\x20\x8d", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
	} {
		asked := make([]byte, len(step.asked))
		if _, err := io.ReadFull(passed, asked); err != nil {
			t.Fatal(err)
		}
		if string(asked) != step.asked {
			t.Fatalf("the proxy was asked %q, want %q", asked, step.asked)
		}
		if _, err := io.WriteString(passed, step.answer); err != nil {
			t.Fatal(err)
		}
	}
	return f, command, passed
}

// What COMMAND has written arrives at the proxy even if COMMAND ends at once.
func TestForwarderEnds(t *testing.T) {
	testkit.NoLeaks(t)
	f, command, passed := forwardOne(t)
	sent := make(chan error, 1)
	const size = 4 << 20
	go func() {
		_, err := command.Write(make([]byte, size))
		command.Close()
		f.close(time.Hour)
		sent <- err
	}()
	n, err := io.Copy(io.Discard, passed)
	passed.Close()
	if n != size || err != nil {
		t.Errorf("got %d bytes, %v; want %d", n, err, size)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// A connection that does not end is cut.
func TestForwarderCuts(t *testing.T) {
	testkit.NoLeaks(t)
	f, command, _ := forwardOne(t)
	if _, err := io.WriteString(command, "x"); err != nil {
		t.Fatal(err)
	}
	f.close(0)
	if n, err := command.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes", n)
	}
}
