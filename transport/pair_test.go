package transport

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"bip324proxy/internal/testkit"
)

// connPair performs a handshake over a and b.
func connPair(t testing.TB, a, b net.Conn, cfgA, cfgB Config) (client, server *Conn) {
	t.Helper()
	type result struct {
		c   *Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := Server(context.Background(), b, cfgB)
		done <- result{c, err}
	}()
	client, err := Client(context.Background(), a, cfgA)
	r := <-done
	if err != nil || r.err != nil {
		t.Fatalf("client: %v, server: %v", err, r.err)
	}
	t.Cleanup(func() { client.Close(); r.c.Close() })
	return client, r.c
}

// tcpConns returns an established connection over TCP.
func tcpConns(t testing.TB) (client, server *Conn) {
	t.Helper()
	a, b := testkit.TCPPair(t)
	return connPair(t, a, b, Config{Magic: mainnet}, Config{Magic: mainnet})
}

// watched counts the bytes through a socket.
type watched struct {
	net.Conn
	mu      sync.Mutex
	read    int
	writes  []int
	target  int // number of bytes
	reached chan struct{}
}

// watch returns nc, watched. reached is closed by the first Read after target bytes.
func watch(nc net.Conn, target int) *watched {
	return &watched{Conn: nc, target: target, reached: make(chan struct{})}
}

// aim sets another target, more bytes after those read, and returns its channel.
func (w *watched) aim(more int) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = w.read + more
	w.reached = make(chan struct{})
	return w.reached
}

func (w *watched) Read(p []byte) (int, error) {
	w.mu.Lock()
	if w.read >= w.target && w.reached != nil {
		close(w.reached)
		w.reached = nil
	}
	w.mu.Unlock()
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	w.read += n
	w.mu.Unlock()
	return n, err
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.writes = append(w.writes, len(p))
	w.mu.Unlock()
	return w.Conn.Write(p)
}

// halfFlights are the sizes of what the script below and its victim send.
const (
	scriptGarbage = 20
	helloSize     = KeySize + scriptGarbage                          // key and garbage
	flightSize    = helloSize + terminatorSize + Tailroom + Headroom // with an empty version packet
)

// scriptConfig is the configuration of both sides of a script.
func scriptConfig() Config {
	return Config{Magic: mainnet, Garbage: testBytes(scriptGarbage, 1)}
}

// script plays the other end of a handshake with a victim, in either role, until it has sent k
// bytes in all. It reads the victim's whole response and returns its size.
func script(t testing.TB, nc net.Conn, victimInitiates bool, k int) (victimSent int) {
	t.Helper()
	var h *Handshake
	for h == nil || h.key.public[0] == mainnet[0] { // such a key would be answered later
		var err error
		if h, err = NewHandshake(scriptConfig(), !victimInitiates); err != nil {
			t.Fatal(err)
		}
		h.key = newPrivateKey()
	}
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(nc, b); err != nil {
			t.Fatal(err)
		}
		victimSent += n
		_, send, err := h.Receive(b)
		if err != nil {
			t.Fatal(err)
		}
		return send
	}
	write := func(b []byte) {
		if len(b) == 0 {
			return
		}
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if victimInitiates {
		write(read(helloSize)[:k])
		if k >= KeySize {
			read(flightSize - helloSize)
		}
		return victimSent
	}
	write(h.Start()[:min(k, helloSize)])
	switch {
	case k >= KeySize:
		write(read(flightSize)[:max(0, k-helloSize)])
	case k > 0:
		read(helloSize)
	}
	return victimSent
}

// stageAfter returns the stage of a script's victim after k bytes.
func stageAfter(k int) Stage {
	switch {
	case k < KeySize:
		return StageKey
	case k < helloSize+terminatorSize:
		return StageGarbage
	case k < flightSize:
		return StageVersion
	}
	return StageDone
}
