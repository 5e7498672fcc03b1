package proxy_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
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

// Nothing is sent to the peer unless a valid VERSION follows the header with "version".
func TestClientBeginsBadly(t *testing.T) {
	t.Parallel()
	tooLong := v1Message(mainnet, "version", version)
	binary.LittleEndian.PutUint32(tooLong[16:], 4_000_001)
	for name, c := range map[string]struct {
		says []byte
		why  string
	}{
		"too long":           {tooLong, "4000001 bytes, over the limit of 4000000"},
		"header only":        {tooLong[:16], "the client closed the connection within a message"},
		"wrong checksum":     {spoilt("version"), "the client closed the connection"},
		"then another magic": {slices.Concat(spoilt("version"), v1Message(signet, "verack", nil)), "v1 header with magic 0a03cf40 instead of f9beb4d9"},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, &proxy.Server{})
			var got atomic.Int64
			e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
				n, _ := io.Copy(io.Discard, nc)
				got.Add(n)
			})
			client := e.connect("node.example:8333")
			client.Write(c.says)
			hangUp(client)
			client.Close()
			e.wantEnd(client, "refused", c.why)
			e.net.wg.Wait()
			if n := got.Load(); n != 0 {
				t.Errorf("the peer received %d bytes, want none", n)
			}
		})
	}
}

// spoilt returns a message with a wrong checksum.
func spoilt(name string) []byte {
	b := v1Message(mainnet, name, version)
	b[20] ^= 1
	return b
}

// Faults after the VERSION: good messages before the fault arrive, nothing after it.
func TestClientMisbehaves(t *testing.T) {
	t.Parallel()
	ping := v1Message(mainnet, "ping", randomBytes(8, 1))
	tooLong := v1Message(mainnet, "tx", nil)
	binary.LittleEndian.PutUint32(tooLong[16:], 4_000_001)
	huge := slices.Clone(tooLong)
	binary.LittleEndian.PutUint32(huge[16:], 1<<32-1)
	badName := v1Message(mainnet, "ve\x00rack", nil)
	for name, c := range map[string]struct {
		says    []byte
		why     string
		pings   int
		dropped float64
	}{
		"wrong magic":     {slices.Concat(ping, v1Message(signet, "ping", nil), ping), "the client: v1 header with magic", 1, 0},
		"garbage":         {slices.Concat(ping, randomBytes(5000, 9)), "the client: v1 header with magic", 1, 0},
		"too long":        {slices.Concat(ping, tooLong, ping), "the client: message \"tx\" of 4000001 bytes", 1, 0},
		"huge":            {slices.Concat(ping, huge), "the client: message \"tx\" of 4294967295 bytes", 1, 0},
		"wrong checksums": {slices.Concat(ping, spoilt("tx"), ping, spoilt("block")), "the client closed the connection", 2, 2},
		"wrong name":      {slices.Concat(ping, badName, ping), "the client closed the connection", 2, 1},
		"cut off":         {slices.Concat(ping, ping[:len(ping)-1]), "the client closed the connection within a message", 1, 0},
		"cut off early":   {slices.Concat(ping, ping[:1]), "the client closed the connection within a message", 1, 0},
		"large cut off":   {slices.Concat(ping, v1Message(mainnet, "block", randomBytes(900_000, 1))[:700_000]), "the client closed the connection within a message", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, &proxy.Server{})
			got := make(chan int, 1)
			e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
				c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("verack"), nil))
				n := 0
				for {
					contents, err := c.ReadPacket()
					if err != nil {
						got <- n
						return
					}
					if len(contents) == 9 && contents[0] == 18 {
						n++
					} else if len(contents) != 13+len(version) {
						t.Errorf("the peer received % x", contents[:min(len(contents), 20)])
					}
				}
			}))
			client := e.connect("node.example:8333")
			client.Write(v1Message(mainnet, "version", version))
			readV1(client) // the session is open
			client.Write(c.says)
			hangUp(client)
			client.Close()
			if n := receive(t, got, "the peer"); n != c.pings {
				t.Errorf("the peer received %d pings, want %d", n, c.pings)
			}
			line := e.wantEnd(client, "closed", c.why)
			if line["dropped"] != c.dropped {
				t.Errorf("dropped %v messages, want %v", line["dropped"], c.dropped)
			}
		})
	}
}

// If a client resets during the session, the peer's connection is closed as well.
func TestClientResets(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	gone := make(chan struct{})
	e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("verack"), nil))
		c.ReadPacket()
		c.ReadPacket()
		close(gone)
	}))
	client := e.connect("node.example:8333")
	client.Write(v1Message(mainnet, "version", version))
	readV1(client)
	reset(client)
	receive(t, gone, "the end at the peer")
	e.wantEnd(client, "closed", "the client: ")
}

// A client that leaves while the peer is silent ends the session; no second connection follows,
// above all none for v1.
func TestClientLeavesDuringHandshake(t *testing.T) {
	t.Parallel()
	for _, end := range []ending{fin, rst} {
		e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, FirstByteTimeout: time.Minute}}})
		e.net.tap = true
		reached := make(chan struct{})
		e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
			nc.Read(make([]byte, 8192))
			close(reached)
			io.Copy(io.Discard, nc)
		})
		client := e.connect("node.example:8333")
		client.Write(v1Message(mainnet, "version", version))
		receive(t, reached, "the handshake")
		end.do(client.(*net.TCPConn))
		client.Close()
		e.wantEnd(client, "refused", "the client closed the connection")
		wantNoV1(t, e, "node.example:8333")
	}
}

// A client that has waited for a peer that hangs, and then leaves, leaves because of the peer: that
// is listed, logged and explained, however short the client's patience is.
func TestClientGivesUpOnPeer(t *testing.T) {
	t.Parallel()
	const dest = "node.example:8333"
	for _, c := range []struct {
		known bool // to speak v2
		sends []byte
		kind  string
		why   string
		level string
	}{
		{false, nil, proxy.KindNoV2Answer, "the peer did not answer the v2 handshake; the client gave up after 0 s", "INFO"},
		{true, nil, proxy.KindNoV2Answer, "the peer did not answer the v2 handshake; the client gave up after 0 s", "INFO"},
		{false, randomBytes(100, 3), proxy.KindHandshake, "the peer began the v2 handshake, but did not complete it; the client gave up after 0 s", "WARN"}, // as on another network
	} {
		peers := new(fallback.Peers)
		if c.known {
			peers.Note(dest, fallback.SpeaksV2)
		}
		e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{FirstByteTimeout: time.Nanosecond, Peers: peers}}})
		reached := make(chan struct{})
		e.net.peer(dest, func(nc *net.TCPConn, _ int) {
			nc.Read(make([]byte, 8192))
			if c.sends != nil {
				nc.Write(c.sends)
				nc.Read(make([]byte, 8192)) // the answer to the key
			}
			close(reached)
			io.Copy(io.Discard, nc)
		})
		client := e.connect(dest)
		client.Write(v1Message(mainnet, "version", version))
		receive(t, reached, "the handshake")
		client.Close()
		wantAttrs(t, e.wantEnd(client, "refused", c.why), logLine{"level": c.level})
		now := e.server.Snapshot()
		if now.Refused[c.kind] != 1 || len(now.Refusals) != 1 || now.Refusals[0].Hint == "" || now.Failing == nil {
			t.Errorf("%+v: got %v, %+v, %+v", c, now.Refused, now.Refusals, now.Failing)
		}
	}
}

// If a client leaves while the second connection is being made, that is the only reason logged.
func TestClientLeavesDuringSecondDial(t *testing.T) {
	t.Parallel()
	const dest = "node.example:8333"
	second := make(chan struct{})
	var e *env
	server := &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always}}}
	server.Dialer.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if e.net.dialled(dest) == 0 {
			return e.net.dial(ctx, network, addr)
		}
		close(second)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	e = start(t, server)
	e.net.peer(dest, hangUpOnV2)
	client := e.connect(dest)
	client.Write(v1Message(mainnet, "version", version))
	receive(t, second, "the second dial")
	client.Close()
	wantAttrs(t, e.wantEnd(client, "refused", "the client closed the connection before the session was open"), logLine{"level": "DEBUG"})
}

// Other protocols sent to a SOCKS port by mistake.
func TestNotSOCKS(t *testing.T) {
	t.Parallel()
	for why, says := range map[string]string{
		"speaks HTTP":                 "GET / HTTP/1.1\r\n\r\n",
		"speaks TLS":                  "\x16\x03\x01\x02\x00",
		"speaks SOCKS4":               "\x04\x01\x20\x8d\x7f\x00\x00\x01\x00",
		"does not speak SOCKS5":       "\x99\x98\x97\x96 nothing known",
		"only the authentication met": "\x05\x01\x03",
	} {
		t.Run(why, func(t *testing.T) {
			e := start(t, &proxy.Server{})
			client := e.dial()
			fmt.Fprint(client, says)
			b, _ := io.ReadAll(client)
			if want := strings.HasPrefix(says, "\x05"); (string(b) == "\x05\xff") != want || !want && len(b) > 0 {
				t.Errorf("answer % x", b)
			}
			e.wantEnd(client, "refused", why)
		})
	}
}
