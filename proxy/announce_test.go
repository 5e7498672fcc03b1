package proxy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"bip324proxy/announce"
	"bip324proxy/inbound"
	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

var announced = announce.Addresses{netip.MustParseAddrPort("203.0.113.7:8333"), netip.MustParseAddrPort("[2001:db8::7]:8333")}

// nodeVersion is the payload of a node's VERSION with these services in both its fields.
func nodeVersion(services uint64) []byte {
	b := bytes.Clone(version)
	binary.LittleEndian.PutUint64(b[4:], services)
	binary.LittleEndian.PutUint64(b[46:], services)
	return b
}

// ends are our side of a session, a client or a node, and the peer: as both speak v1, or as
// what a *v1v2.Conn makes of v2.
type ends struct{ ours, peer net.Conn }

// sessions are all kinds in which messages go to a peer. Each opens one of a server.
var sessions = []struct {
	name string
	v1   bool
	open func(t *testing.T, e *env) ends
}{
	{"outbound v2", false, func(t *testing.T, e *env) ends { return e.outbound(t, false) }},
	{"outbound v1", true, func(t *testing.T, e *env) ends { return e.outbound(t, true) }},
	{"inbound v2", false, func(t *testing.T, e *env) ends { return e.inbound(t, false) }},
	{"inbound v1", true, func(t *testing.T, e *env) ends { return e.inbound(t, true) }},
}

func startAnnouncing(t *testing.T, addresses announce.Addresses) *env {
	return start(t, &proxy.Server{Policy: proxy.Policy{Announce: addresses, InboundV1: fallback.Always,
		Dialer: fallback.Dialer{Mode: fallback.Always, FirstByteTimeout: time.Minute}}})
}

// outbound opens the session of a client. Its VERSION has arrived.
func (e *env) outbound(t *testing.T, v1 bool) ends {
	t.Helper()
	peers, done := make(chan net.Conn, 1), make(chan struct{})
	t.Cleanup(func() { close(done) })
	give := func(nc net.Conn) {
		peers <- nc
		<-done
	}
	e.net.peer(clearnet, func(nc *net.TCPConn, dial int) {
		switch {
		case !v1:
			if c, err := v1v2.Server(context.Background(), nc, peerConfig(mainnet)); err == nil {
				give(c)
				c.Close()
			}
		case dial > 2: // v2, v2 again, v1
			give(nc)
		default:
			nc.Read(make([]byte, 8192))
		}
	})
	client := e.connect(clearnet)
	client.Write(v1Message(mainnet, "version", nodeVersion(0x409)))
	both := ends{client, receive(t, peers, "the peer")}
	both.peer.SetDeadline(time.Now().Add(patience))
	want := v1Message(mainnet, "version", nodeVersion(both.services(e)))
	both.peer.Write(v1Message(mainnet, "version", nodeVersion(9)))
	wantRead(t, "the peer", both.peer, want)
	wantRead(t, "the client", both.ours, v1Message(mainnet, "version", nodeVersion(9)))
	return both
}

// services are those that the peer must see in the VERSION.
func (ends) services(e *env) uint64 {
	if e.server.Announce == nil {
		return 0x409
	}
	return 0xc09
}

// inbound opens the session of a peer. The VERSIONs have arrived.
func (e *env) inbound(t *testing.T, v1 bool) ends {
	t.Helper()
	addr, nodes := e.serveNode(t, "")
	peer := e.dialTo(addr)
	if !v1 {
		conn, err := v1v2.Client(t.Context(), peer, peerConfig(mainnet))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		peer = conn
		peer.SetDeadline(time.Now().Add(patience))
	}
	peer.Write(v1Message(mainnet, "version", nodeVersion(9)))
	both := ends{receive(t, nodes, "the node"), peer}
	wantRead(t, "the node", both.ours, v1Message(mainnet, "version", nodeVersion(9)))
	both.ours.Write(v1Message(mainnet, "version", nodeVersion(0x409)))
	wantRead(t, "the peer", both.peer, v1Message(mainnet, "version", nodeVersion(both.services(e))))
	return both
}

// serveNode lets peers in at addr, to a node that gives its connections to the channel. The
// server takes the peers' address for from, if that is not empty.
func (e *env) serveNode(t *testing.T, from string) (addr string, nodes <-chan net.Conn) {
	t.Helper()
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns, accepting := make(chan net.Conn, 100), make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			nc, err := node.Accept()
			if err != nil {
				return
			}
			nc.SetDeadline(time.Now().Add(patience))
			conns <- nc
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- e.server.ServeInbound(fromListener{l, from}, proxy.Inbound{Node: &inbound.Node{Network: "tcp", Address: node.Addr().String()}, Magic: mainnet})
	}()
	t.Cleanup(func() {
		node.Close()
		<-accepting
		close(conns)
		for nc := range conns {
			nc.Close()
		}
		e.server.Close()
		receive(t, served, "ServeInbound to return")
	})
	return l.Addr().String(), conns
}

// fromListener is a listener whose connections come from another address.
type fromListener struct {
	net.Listener
	from string
}

func (l fromListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil || l.from == "" {
		return nc, err
	}
	return fromConn{nc.(*net.TCPConn), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.from))}, nil
}

type fromConn struct {
	*net.TCPConn
	from net.Addr
}

func (c fromConn) RemoteAddr() net.Addr { return c.from }

// wantRead checks what r has next.
func wantRead(t *testing.T, who string, r io.Reader, want []byte) bool {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if !bytes.Equal(got, want) {
		t.Errorf("%s got % .100x, %v, want % .100x", who, got[:n], err, want)
		return false
	}
	return true
}

// Of messages to a peer only the services of VERSION and of own entries differ from what was
// sent; messages to our side arrive as they were. LONG=1 sends twenty times as many.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	messages := 500
	if os.Getenv("LONG") != "" {
		messages = 10_000
	}
	for _, c := range sessions {
		for _, addresses := range []announce.Addresses{announced, nil} {
			t.Run(fmt.Sprintf("%s/%d addresses", c.name, len(addresses)), func(t *testing.T) {
				t.Parallel()
				both := c.open(t, startAnnouncing(t, addresses))
				seed := rand.Uint64()
				var work []func()
				for i, way := range []struct {
					from, to net.Conn
					who      string
					alters   bool
				}{
					{both.ours, both.peer, "the peer", addresses != nil},
					{both.peer, both.ours, "our side", false},
				} {
					stream := func() func() (sent, got []byte) {
						random := rand.New(rand.NewPCG(seed, uint64(i)))
						return func() (sent, got []byte) { return messageOf(random, c.v1, way.alters) }
					}
					work = append(work, func() {
						next := stream()
						for range messages {
							sent, _ := next()
							if _, err := way.from.Write(sent); err != nil {
								t.Errorf("to %s: %v", way.who, err)
								return
							}
						}
					}, func() {
						next := stream()
						for n := range messages {
							if _, want := next(); !wantRead(t, way.who, way.to, want) {
								t.Errorf("seed %d, message %d", seed, n)
								both.ours.Close()
								both.peer.Close()
								return
							}
						}
					})
				}
				each(len(work), len(work), func(i int) { work[i]() })
			})
		}
	}
}

// messageOf returns a random v1 message as it is sent and as it must arrive.
func messageOf(random *rand.Rand, v1, alters bool) (sent, got []byte) {
	name, payload, altered := testkit.Announcement(random, announced)
	if random.IntN(200) == 0 {
		name, payload = "block", make([]byte, random.IntN(300_000))
		altered = payload
	}
	if !alters {
		altered = payload
	}
	sent, got = v1Message(mainnet, name, payload), v1Message(mainnet, name, altered)
	if v1 && random.IntN(20) == 0 { // a wrong checksum; v2 has none
		sent[20+random.IntN(4)] ^= 1
		got = sent
	}
	return sent, got
}

// What follows a message in a v1 session arrives as it is, whatever it is.
func TestAnnounceRest(t *testing.T) {
	t.Parallel()
	entry := slices.Concat(make([]byte, 4), []byte{1, 0, 0, 0, 0, 0, 0, 0}, addr16(announced[0]), []byte{0x20, 0x8d})
	message := v1Message(mainnet, "addr", append([]byte{1}, entry...))
	tooLong := v1Message(mainnet, "addr", nil)
	binary.LittleEndian.PutUint32(tooLong[16:], 4_000_001)
	for _, c := range sessions {
		if !c.v1 {
			continue
		}
		for name, rest := range map[string][]byte{
			"nothing":              nil,
			"half a header":        message[:12],
			"half a message":       message[:len(message)-9],
			"half a large message": v1Message(mainnet, "addrv2", make([]byte, 100_000))[:50_000],
			"half a block":         v1Message(mainnet, "block", make([]byte, 100_000))[:50_000],
			"another magic":        append(bytes.Clone(message[1:]), message...),
			"too long a message":   append(tooLong, message...),
			"too large a message":  v1Message(mainnet, "addr", slices.Concat([]byte{1}, entry, make([]byte, 600_000))),
		} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				both := c.open(t, startAnnouncing(t, announced))
				both.ours.Write(append(v1Message(mainnet, "ping", make([]byte, 8)), rest...))
				both.ours.(*net.TCPConn).CloseWrite()
				wantRead(t, "the peer", both.peer, v1Message(mainnet, "ping", make([]byte, 8)))
				wantRead(t, "the peer", both.peer, rest)
				if n, err := both.peer.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("at the end %d bytes, %v, want EOF", n, err)
				}
				both.peer.Write([]byte("goes on"))
				wantRead(t, "our side", both.ours, []byte("goes on"))
				both.peer.(*net.TCPConn).CloseWrite()
				if n, err := both.ours.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("at the other end %d bytes, %v, want EOF", n, err)
				}
			})
		}
	}
}

func addr16(at netip.AddrPort) []byte {
	b := at.Addr().As16()
	return b[:]
}
