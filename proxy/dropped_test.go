package proxy_test

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// A session logs one line for each kind of message that it drops; its last line and the snapshot
// have the counts by reason.
func TestDroppedIsTold(t *testing.T) {
	t.Parallel()
	const many = 300
	e := start(t, &proxy.Server{})
	e.net.peer("node.example:8333", v2Peer(func(c *transport.Conn) {
		for range many {
			for _, contents := range []string{"\x26answer", "\xff", "", "\x00ping", "\x00pi\nng\x00x\x00\x00\x00\x00\x00payload"} {
				c.Queue([]byte(contents))
			}
		}
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("verack"), nil))
		for {
			if _, err := c.ReadPacket(); err != nil {
				return
			}
		}
	}))
	client := e.connect("node.example:8333")
	client.Write(spoilt("version")) // before the session opens
	client.Write(v1Message(mainnet, "version", version))
	if name, _, err := readV1(client); name != "verack" || err != nil {
		t.Errorf("got %s, %v", name, err)
	}
	for range many {
		client.Write(slices.Concat(spoilt("tx"), v1Message(mainnet, "\xff\"\x1b[1m", nil)))
	}
	hangUp(client)
	client.Close()
	end := e.wantEnd(client, "closed", "the client closed the connection")
	wantAttrs(t, end, logLine{"dropped": float64(many*7 + 1),
		"dropped_for": "unknown_id=600 empty=300 short_type=300 invalid_type=600 wrong_checksum=301"})

	lines, _ := e.logs.of(client.LocalAddr())
	var got []string
	for _, l := range lines {
		if strings.HasPrefix(l["msg"].(string), "message dropped") {
			wantAttrs(t, l, logLine{"level": "WARN", "session": 1.0, "dest": "node.example:8333"})
			got = append(got, fmt.Sprint(l["direction"], " ", l["reason"], " ", cmp.Or(l["id"], l["type"], "")))
		}
	}
	slices.Sort(got)
	want := []string{
		"to_client empty ",
		`to_client invalid_type pi\nng\x00x`,
		"to_client short_type ping",
		"to_client unknown_id 38",
		`to_peer invalid_type \xff\"\x1b[1m`,
		"to_peer wrong_checksum version",
	}
	if !slices.Equal(got, want) {
		t.Errorf("logged\n%q, want\n%q", got, want)
	}
	now := e.server.Snapshot()
	if d := now.Dropped; now.Traffic["v2"].Dropped != many*7+1 || d["unknown_id"] != 2*many || d["empty"] != many || d["short_type"] != many || d["invalid_type"] != 2*many || d["wrong_checksum"] != many+1 || len(d) != len(v1v2.Reasons) {
		t.Errorf("got %v, %+v", d, now.Traffic)
	}
}

// A session that does not open logs one line, which has what it dropped, and its drops are counted.
func TestDroppedBeforeOpen(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	e.net.peer("node.example:8333", func(nc *net.TCPConn, _ int) { waitForEnd(nc) })
	client := e.connect("node.example:8333")
	for range 3 {
		client.Write(spoilt("version"))
	}
	hangUp(client)
	client.Close()
	wantAttrs(t, e.wantEnd(client, "refused", "the client closed the connection"), logLine{"dropped_for": "wrong_checksum=3"})
	if lines, _ := e.logs.of(client.LocalAddr()); len(lines) != 1 {
		t.Errorf("the log says %v", lines)
	}
	if n := e.server.Snapshot().Dropped["wrong_checksum"]; n != 3 {
		t.Errorf("%d drops counted", n)
	}
}

// What a peer that came in has dropped, before its VERSION, too, has the right direction, and is
// no warning: strangers could cause any number. What the node has dropped is one.
func TestDroppedOfPeer(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	node := testkit.Serve(t, func(nc net.Conn) {
		readV1(nc)
		nc.Write(spoilt("tx"))
		nc.Write(v1Message(mainnet, "version", version))
		nc.Write(v1Message(mainnet, "verack", nil))
		readV1(nc)
	})
	nc, v2 := e.peerV2(e.listenInbound(node))
	v2.WritePacket([]byte("\xff"))
	v2.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("version"), version))
	for range 2 {
		v2.ReadPacket()
	}
	v2.WritePacket(nil)
	v2.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("verack"), nil))
	v2.ReadPacket() // to the end
	nc.Close()
	e.until("the end", func(s proxy.Snapshot) bool { return s.Inbound.Traffic["v2"].Dropped == 3 && len(s.Sessions) == 0 })
	var got []string
	for _, l := range e.logs.all() {
		if strings.HasPrefix(l["msg"].(string), "message dropped") {
			got = append(got, fmt.Sprint(l["level"], " ", l["direction"], " ", l["reason"]))
		}
	}
	slices.Sort(got)
	if want := []string{"DEBUG to_client empty", "DEBUG to_client unknown_id", "WARN to_peer wrong_checksum"}; !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}
