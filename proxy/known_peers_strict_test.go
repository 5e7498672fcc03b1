package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// If v1 is not allowed, none of it is sent, whatever peers and clients do: all writes to all peers
// are searched. Under always the same search finds v1, so it would have found it.
func TestStrictSendsNoV1(t *testing.T) {
	t.Parallel()
	const sessions = 150
	for _, c := range []struct {
		fallback fallback.Mode
		dest     string
		v1       bool
	}{
		{fallback.Never, "192.0.2.%d:8333", false},
		{fallback.Never, "[fc00::%d]:8333", false},
		{fallback.Never, "node%d.example:8333", false},
		{fallback.Overlay, "192.0.2.%d:8333", false},
		{fallback.Overlay, "node%d.example:8333", false},
		{fallback.Overlay, "[fc00::%d]:8333", true},
		{fallback.Overlay, "[fc01::%d]:8333", false}, // this host is not configured for CJDNS
		{fallback.Always, "192.0.2.%d:8333", true},
	} {
		t.Run(fmt.Sprintf("%v/%s", c.fallback, c.dest), func(t *testing.T) {
			t.Parallel()
			e := start(t, &proxy.Server{
				Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: c.fallback, Peers: new(fallback.Peers),
					FirstByteTimeout: 500 * time.Millisecond, HandshakeTimeout: 2 * time.Second}, CJDNSReachable: !strings.HasPrefix(c.dest, "[fc01:")},
				FirstBytesTimeout: 5 * time.Second, // enough for a client's first byte on the slowest machine
				IdleTimeout:       5 * time.Second,
				LingerTimeout:     300 * time.Millisecond,
			})
			e.net.tap = true
			var ends [3]atomic.Int64
			each(sessions, 10, func(i int) {
				rng := mrand.New(mrand.NewPCG(uint64(i), 1))
				dest := fmt.Sprintf(c.dest, 1+i%100) // some are repeated
				e.server.Dialer.Peers.Note(dest, []fallback.Speaks{
					fallback.SpeaksUnknown, fallback.SpeaksUnknown, fallback.SpeaksV1, fallback.RefusedV2}[rng.IntN(4)])
				e.net.peer(dest, func(nc *net.TCPConn, dial int) { anyPeer(nc, mrand.New(mrand.NewPCG(uint64(i), uint64(1+dial)))) })
				client := e.connect(dest)
				anyClient(client, rng)
				client.Close()
				switch line := e.end(client); line["transport"] {
				case "v2":
					ends[0].Add(1)
				case "passthrough":
					ends[1].Add(1)
				case nil:
					ends[2].Add(1)
				}
			})
			for i, how := range []string{"ended in v2", "were passed through", "were refused"} {
				if ends[i].Load() == 0 && (how != "were refused" || !c.v1) {
					t.Errorf("no sessions %s: the test covers too little", how)
				}
			}
			found := 0
			for i := range 100 {
				dest := fmt.Sprintf(c.dest, 1+i)
				for _, conn := range e.net.sent(dest) {
					if b := bytes.Join(conn, nil); !c.v1 {
						wantNoPlaintext(t, dest, b)
					} else if bytes.Contains(b, v1Message(mainnet, "version", version)) {
						found++
					}
				}
			}
			if (found > 0) != c.v1 {
				t.Errorf("found v1 on %d connections", found)
			}
		})
	}
}

// anyPeer does a random sequence of things that a peer may do, and ends in a random way.
func anyPeer(nc *net.TCPConn, rng *mrand.Rand) {
	end := []ending{fin, rst, stall}[rng.IntN(3)]
	defer end.do(nc)
	if rng.IntN(8) == 0 {
		return // full
	}
	p, err := newHandPeer(nc, mainnet)
	if err != nil {
		return
	}
	steps := []func(){
		func() { nc.Write(randomBytes(1+rng.IntN(5000), rng.Uint64())) },
		func() { nc.Write(p.flight[:rng.IntN(len(p.flight)+1)]) },
		func() { p.flight[rng.IntN(len(p.flight))] ^= 1 << rng.IntN(8); nc.Write(p.flight) },
		func() { nc.Write(v1Message(mainnet, "version", []byte("of the peer"))) },
		func() { nc.Write(v1Message(mainnet, "verack", nil)[:rng.IntN(24)]) },
		func() { io.CopyN(nc, nc, 100) },
		func() { // complete the handshake, as it should
			nc.Write(p.flight)
			p.readFlight()
		},
		func() {},
	}
	for range 1 + rng.IntN(2) {
		steps[rng.IntN(len(steps))]()
	}
}

// anyClient speaks v1, in pieces or in a hurry, or v2.
func anyClient(nc net.Conn, rng *mrand.Rand) {
	if rng.IntN(4) == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if c, err := transport.Client(ctx, nc, transport.Config{Magic: mainnet}); err == nil {
			c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("version"), version))
			nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			c.ReadPacket()
		}
		return
	}
	says := v1Message(mainnet, "version", version)
	for range rng.IntN(3) {
		says = append(says, v1Message(mainnet, "ping", randomBytes(8, 1))...)
	}
	if rng.IntN(4) == 0 {
		says = says[:rng.IntN(len(says))]
	}
	step := []int{1, 16, 24, 1 << 20}[rng.IntN(4)]
	for part := range slices.Chunk(says, step) {
		nc.Write(part)
	}
	if rng.IntN(2) == 0 {
		hangUp(nc)
		return
	}
	nc.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(1000)) * time.Millisecond))
	io.Copy(io.Discard, nc)
}

// Bitcoin Core with its own v2 transport tries v2, which is passed through. If that is cut, Core
// comes back at once, to the same address, in v1. Passing that through would turn the cut into a
// downgrade: it is upgraded or refused.
func TestStrictCoreRetry(t *testing.T) {
	t.Parallel()
	for _, mode := range []fallback.Mode{fallback.Never, fallback.Overlay} {
		for _, end := range []ending{fin, rst} {
			for name, second := range map[string]func(*net.TCPConn, int){
				"speaks v2":   cutPeer(t, flightSize, fin),
				"cuts again":  cutPeer(t, 0, end),
				"says a byte": cutPeer(t, 1, end),
				"speaks v1":   func(nc *net.TCPConn, _ int) { speakV1(nc) },
			} {
				t.Run(fmt.Sprintf("%v/%s/%s", mode, end.name, name), func(t *testing.T) {
					t.Parallel()
					server := &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: mode, Peers: new(fallback.Peers)}}}
					if name == "speaks v1" { // it takes our key for a header and waits for the rest
						server.Dialer.HandshakeTimeout = 300 * time.Millisecond
					}
					e := start(t, server)
					e.net.tap = true
					e.net.peer(clearnet, func(nc *net.TCPConn, dial int) {
						if dial == 1 {
							cutPeer(t, 0, end)(nc, dial)
						} else {
							second(nc, dial)
						}
					})
					wantV2Cut(t, e, clearnet)

					client := e.connect(clearnet)
					client.Write(v1Message(mainnet, "version", version))
					wantClosed(t, client)
					client.Close()
					if name == "speaks v2" {
						e.wantEnd(client, "closed", "the peer")
					} else {
						e.wantEnd(client, "refused", "")
					}
					conns := e.net.sent(clearnet)
					if len(conns) != 2 {
						t.Errorf("%d connections to the peer, want one for v2 and one for the retry", len(conns))
					}
					for _, conn := range conns {
						wantNoPlaintext(t, clearnet, bytes.Join(conn, nil))
					}
				})
			}
		}
	}
}

// wantV2Cut makes a client try v2 itself with dest, which cuts the connection.
func wantV2Cut(t *testing.T, e *env, dest string) {
	t.Helper()
	nc := e.connect(dest)
	if _, err := transport.Client(context.Background(), nc, transport.Config{Magic: mainnet}); err == nil {
		t.Error("the v2 attempt was not cut")
	}
	nc.Close()
	if line := e.end(nc); line["transport"] != "passthrough" {
		t.Errorf("the v2 attempt: %v", line)
	}
}
