package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// serveUDP serves queries at address until the test ends, and returns the port.
func serveUDP(t *testing.T, s *Server, network, address string) string {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Skipf("not run: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeUDP(conn.(*net.UDPConn)) }()
	t.Cleanup(func() {
		conn.Close()
		if err := <-served; err == nil {
			t.Error("ServeUDP returned nil")
		}
	})
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	return port
}

// exchange sends a query and returns the reply, which must come from the address that was
// asked: the client's socket is connected.
func exchange(t *testing.T, addr string, query []byte) *dnsmessage.Message {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(query); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, maxTCP)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	return unpack(t, b[:n])
}

// An answer leaves from the address that was asked.
func TestServeUDP(t *testing.T) {
	for _, c := range []struct {
		network, listen string
		asked           []string
	}{
		{"udp4", "0.0.0.0:0", []string{"127.0.0.1", "127.0.0.7"}},
		{"udp4", "127.0.0.1:0", []string{"127.0.0.1"}},
		{"udp6", "[::]:0", []string{"::1"}},
		{"udp", ":0", []string{"127.0.0.1", "127.0.0.7", "::1"}},
	} {
		t.Run(c.network+" "+c.listen, func(t *testing.T) {
			port := serveUDP(t, &Server{Lookup: world}, c.network, c.listen)
			for _, host := range c.asked {
				if !canAsk(host) {
					continue
				}
				m := exchange(t, net.JoinHostPort(host, port), question(t, "both.example.", dnsmessage.TypeA, nil))
				if got := addresses(t, m); !slices.Equal(got, []string{"192.0.2.2", "192.0.2.1"}) {
					t.Errorf("%s: got %v", host, got)
				}
			}
		})
	}
}

// canAsk reports whether this machine has the address.
func canAsk(host string) bool {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// ask writes a query to a TCP connection.
func ask(t *testing.T, conn net.Conn, query []byte) {
	t.Helper()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		t.Error(err)
	}
}

// answered reads a reply from a TCP connection.
func answered(t *testing.T, conn net.Conn) *dnsmessage.Message {
	t.Helper()
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	return unpack(t, b)
}

// wantEnd waits for the end of a TCP connection.
func wantEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
		t.Errorf("got % x, %v, want the end", b, err)
	}
}

// startConn serves one end of a pipe, and returns the other.
func startConn(t *testing.T, ctx context.Context, s *Server) net.Conn {
	ours, theirs := net.Pipe()
	go s.ServeConn(ctx, theirs)
	t.Cleanup(func() { ours.Close() })
	return ours
}

// A TCP connection serves several queries, and ends when its client is silent or says what is
// no query.
func TestServeConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Lookup: world}
		conn := startConn(t, t.Context(), s)
		for range 3 {
			ask(t, conn, question(t, "many.example.", dnsmessage.TypeA, nil))
			if m := answered(t, conn); len(m.Answers) < 4000 {
				t.Errorf("%d answers", len(m.Answers))
			}
			time.Sleep(ioTimeout - time.Second)
		}
		began := time.Now()
		wantEnd(t, conn)
		if took := time.Since(began); took > ioTimeout {
			t.Errorf("a silent client was served for %v", took)
		}
		for what, bytes := range map[string][]byte{
			"a length of 0":    {0, 0},
			"too long":         {maxQuery >> 8, 1},
			"half a header":    {0, 6, 1, 2, 3, 4, 5, 6},
			"a reply":          append([]byte{0, 12}, 1, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0),
			"an unfinished":    {0, 12, 1},
			"half of a length": {0},
		} {
			t.Log(what)
			conn := startConn(t, t.Context(), s)
			conn.Write(bytes)
			wantEnd(t, conn)
		}
	})
}

// The end of the context ends a connection whose query waits for an answer.
func TestServeConnCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		conn := startConn(t, ctx, &Server{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ended
			return nil, ctx.Err()
		}})
		ask(t, conn, question(t, "both.example.", dnsmessage.TypeA, nil))
		synctest.Wait()
		cancel()
		wantEnd(t, conn)
		close(ended)
	})
}

// More connections than are allowed are closed.
func TestManyConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Lookup: world}
		for range maxConns {
			startConn(t, t.Context(), s)
		}
		synctest.Wait()
		wantEnd(t, startConn(t, t.Context(), s))
	})
}
