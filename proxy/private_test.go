package proxy

import (
	"io"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"bip324proxy/internal/listen"
)

// A client of a public listener cannot reach this machine, by address or by name, and nothing is
// dialled. A client of a loopback listener can.
func TestPrivateDestinations(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	port := inner.Addr().(*net.TCPAddr).Port
	for _, addr := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		server := &Server{Log: slog.New(slog.DiscardHandler)}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(l)
		proxyAddr := net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
		want := byte(2)
		if listen.IsLocal(l.Addr()) {
			want = 0
		}
		for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "localhost"} {
			if got := connectCode(t, proxyAddr, host, port); got != want {
				t.Errorf("listening on %s, CONNECT to %s: reply %d, want %d", addr, host, got, want)
			}
		}
		if want == 2 {
			inner.(*net.TCPListener).SetDeadline(time.Now())
			if c, err := inner.Accept(); err == nil {
				c.Close()
				t.Error("the destination was dialled")
			}
			inner.(*net.TCPListener).SetDeadline(time.Time{})
		}
		server.Close()
	}
}

// connectCode requests a connection and returns the reply's code.
func connectCode(t *testing.T, proxyAddr, host string, port int) byte {
	t.Helper()
	nc, err := net.Dial("tcp", proxyAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	nc.Write(append(append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...), byte(port>>8), byte(port)))
	var reply [12]byte
	if _, err := io.ReadFull(nc, reply[:]); err != nil {
		t.Fatal(err)
	}
	return reply[3]
}
