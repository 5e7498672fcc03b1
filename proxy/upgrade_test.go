package proxy_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

type message struct {
	name    string
	payload []byte
}

// conversation has messages of all kinds of sizes: empty, small, around the sizes of buffers and
// batches, the largest; and types of both forms.
func conversation(seed uint64) (all []message) {
	all = append(all, message{"verack", nil}, message{"ping", randomBytes(8, seed)}, message{"wtxidrelay", nil})
	for i, n := range []int{0, 1, 16<<10 - 25, 16<<10 - 24, 32<<10 - 24, 32<<10 - 23, 100_000, 256 << 10, 300_000} {
		all = append(all, message{"tx", randomBytes(n, seed+uint64(i))}, message{"twelve-chars", randomBytes(n, seed)})
	}
	for i := range 300 { // past a rekeying
		all = append(all, message{"inv", randomBytes(i, seed)})
	}
	return append(all, message{"block", randomBytes(4_000_000, seed)}, message{"pong", randomBytes(8, seed)})
}

// Messages of a v1 client and a v2 peer are translated in both directions, without loss or
// plaintext.
func TestUpgrade(t *testing.T) {
	for _, deny := range []bool{false, true} {
		t.Run(fmt.Sprintf("deny passthrough %v", deny), func(t *testing.T) { testUpgrade(t, deny) })
	}
}

func testUpgrade(t *testing.T, deny bool) {
	e := start(t, &proxy.Server{Policy: proxy.Policy{DenyPassthrough: deny}})
	e.net.tap = true
	const dest = "node.example:8333"
	up, down := conversation(10), conversation(90)
	type seen struct {
		id       [32]byte
		messages []message
	}
	peer := make(chan seen, 1)
	e.net.peer(dest, v2Peer(func(c *transport.Conn) {
		s := seen{id: c.SessionID()}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, m := range down {
				c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf(m.name), m.payload))
			}
		}()
		for {
			contents, err := c.ReadPacket()
			if err != nil {
				break
			}
			name, payload, _ := v1v2.Decode(contents)
			s.messages = append(s.messages, message{name.String(), bytes.Clone(payload)})
		}
		<-sent
		peer <- s
	}))

	client := e.connect(dest)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		client.Write(v1Message(mainnet, "version", version))
		for _, m := range up {
			client.Write(v1Message(mainnet, m.name, m.payload))
		}
	}()
	for i, want := range down {
		name, payload, err := readV1(client)
		if err != nil || name != want.name || !bytes.Equal(payload, want.payload) {
			t.Fatalf("message %d to the client: got %s of %d bytes, %v; want %s of %d", i, name, len(payload), err, want.name, len(want.payload))
		}
	}
	<-sent
	client.Close()
	got := receive(t, peer, "the peer")
	want := append([]message{{"version", version}}, up...)
	if !slices.EqualFunc(got.messages, want, func(a, b message) bool {
		return a.name == b.name && bytes.Equal(a.payload, b.payload)
	}) {
		t.Errorf("the peer received %d messages that differ from the client's %d", len(got.messages), len(want))
	}

	end := e.wantEnd(client, "closed", "the client closed the connection")
	lines, _ := e.logs.of(client.LocalAddr())
	wantAttrs(t, lines[0], logLine{"level": "INFO", "dest": dest, "transport": "v2", "network": "mainnet", "session": 1.0,
		"session_id": hex.EncodeToString(got.id[:])})
	wantAttrs(t, end, logLine{"level": "INFO", "dest": dest, "transport": "v2", "session": 1.0, "dropped": 0.0,
		"messages_to_peer": float64(len(want)), "messages_to_client": float64(len(down)),
		"bytes_to_peer": v1Size(want), "bytes_to_client": v1Size(down)})
	wantWire(t, e.net.sent(dest))
}

func wantAttrs(t *testing.T, line, want logLine) {
	t.Helper()
	for k, v := range want {
		if line[k] != v {
			t.Errorf("%s: %s is %v, want %v", line["msg"], k, line[k], v)
		}
	}
}

func v1Size(all []message) (n float64) {
	for _, m := range all {
		n += float64(24 + len(m.payload))
	}
	return n
}

// wantWire checks the bytes of one upgraded connection: key and garbage in one write; terminator,
// version packet and VERSION in another; nothing of v1.
func wantWire(t *testing.T, conns [][][]byte) {
	t.Helper()
	if len(conns) != 1 || len(conns[0]) < 2 {
		t.Fatalf("%d connections, want one with two writes", len(conns))
	}
	if n := len(conns[0][0]); n < 64 || n > 64+4095 {
		t.Errorf("first write of %d bytes, want key and garbage", n)
	}
	if n, want := len(conns[0][1]), 16+20+20+13+len(version); n < want {
		t.Errorf("second write of %d bytes, want terminator, version packet and VERSION: %d", n, want)
	} else if n > want {
		t.Errorf("second write of %d bytes, %d more than terminator, version packet and VERSION", n, n-want)
	}
	wire := bytes.Join(conns[0], nil)
	wantNoPlaintext(t, "the peer", wire)
	if bytes.Contains(wire[:min(len(wire), 4096)], mainnet[:]) { // one run in a million fails by chance
		t.Error("the magic was sent in plaintext")
	}
}

// A client that half-closes still receives the peer's answer.
func TestClientHalfClose(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	big := randomBytes(3_000_000, 4)
	e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
		c.ReadPacket()
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("verack"), nil))
		for {
			if _, err := c.ReadPacket(); err != nil {
				break
			}
		}
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("block"), big))
	}))
	client := e.connect("node.example:8333")
	client.Write(v1Message(mainnet, "version", version))
	readV1(client)
	client.(*net.TCPConn).CloseWrite()
	if name, payload, err := readV1(client); err != nil || name != "block" || !bytes.Equal(payload, big) {
		t.Errorf("got %s of %d bytes, %v", name, len(payload), err)
	}
	wantClosed(t, client)
	client.Close()
	e.wantEnd(client, "closed", "the client closed the connection")
}

// All messages of a peer that then hangs up are delivered.
func TestPeerHangsUp(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	big := randomBytes(3_000_000, 4)
	e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
		c.ReadPacket()
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("block"), big))
	}))
	client := e.connect("node.example:8333")
	client.Write(v1Message(mainnet, "version", version))
	if name, payload, err := readV1(client); err != nil || name != "block" || !bytes.Equal(payload, big) {
		t.Errorf("got %s of %d bytes, %v", name, len(payload), err)
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the last message: %v", err)
	}
	client.Close()
	e.wantEnd(client, "closed", "the peer closed the connection")
}

// The same for a client that keeps sending and reads late: if the proxy closed with unread data,
// the reset would destroy what is in flight.
func TestPeerHangsUpOnBusyClient(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	big := randomBytes(1_000_000, 4)
	hangUpNow := make(chan struct{})
	e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("block"), big))
		<-hangUpNow
	}))
	client := e.connect("node.example:8333")
	client.Write(v1Message(mainnet, "version", version))
	defer keepTalking(client, time.Microsecond)()
	var head [24]byte
	if _, err := io.ReadFull(client, head[:]); err != nil { // so the proxy has all of it
		t.Fatal(err)
	}
	close(hangUpNow)
	e.net.wg.Wait()
	<-time.After(200 * time.Millisecond)
	name, payload, err := readV1(io.MultiReader(bytes.NewReader(head[:]), client))
	if err != nil || name != "block" || !bytes.Equal(payload, big) {
		t.Errorf("got %s of %d bytes, %v", name, len(payload), err)
	}
	client.Close()
	e.wantEnd(client, "closed", "the peer")
}

// The network is learnt from the client, even if it has no known name.
func TestCustomNetwork(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) {
		p, err := newHandPeer(nc, nameless)
		if err == nil {
			nc.Write(p.flight)
			err = p.readFlight()
		}
		if err != nil {
			t.Error(err)
		}
	})
	client := e.connect("node.example:8333")
	client.Write(v1Message(nameless, "version", version))
	wantClosed(t, client)
	client.Close()
	e.end(client)
	lines, _ := e.logs.of(client.LocalAddr())
	wantAttrs(t, lines[0], logLine{"msg": "session opened", "network": "01020304"})
}
