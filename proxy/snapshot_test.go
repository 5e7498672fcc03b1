package proxy_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// until takes snapshots until one satisfies a condition.
func (e *env) until(what string, ok func(proxy.Snapshot) bool) (now proxy.Snapshot) {
	e.t.Helper()
	for end := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		if now = e.server.Snapshot(); ok(now) {
			return now
		}
		if time.Now().After(end) {
			e.t.Fatalf("timed out waiting for %s: %+v", what, now)
		}
	}
}

func TestSnapshotOfASession(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{MaxSessions: 7})
	const dest = "node.example:8333"
	ids := make(chan [32]byte, 1)
	goOn := make(chan struct{})
	e.net.peer(dest, v2Peer(func(c *transport.Conn) {
		ids <- c.SessionID()
		c.ReadPacket()
		<-goOn
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("version"), slices.Concat(version[:80], []byte("\x10/Sato\x01shi:31.0/x"), version[:5])))
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("inv"), version))
		c.WritePacket([]byte{200}) // not a message
		for {
			if _, err := c.ReadPacket(); err != nil {
				return
			}
		}
	}))
	now := e.until("the listener", func(s proxy.Snapshot) bool { return slices.Equal(s.Listeners, []string{e.addr}) })
	if listeners, stopping := e.server.Accepting(); listeners != 1 || stopping {
		t.Errorf("%d listeners, stopping %v", listeners, stopping)
	}
	if len(now.Sessions) != 0 || now.MaxSessions != 7 || now.Started.IsZero() || now.Stopping || now.MessageMemory != (transport.MemoryUsage{Size: 128 << 20}) {
		t.Errorf("before any session: got %+v", now)
	}
	client := e.dial()
	asking := e.until("the session", func(s proxy.Snapshot) bool { return len(s.Sessions) == 1 }).Sessions[0]
	if asking.State != proxy.StateAsking || asking.Client != client.LocalAddr().String() || asking.Number != 1 || asking.Dest != "" {
		t.Errorf("a client before its request: got %+v", asking)
	}
	ask(client, dest)
	granted := e.until("granted", func(s proxy.Snapshot) bool { return s.Sessions[0].State == proxy.StateGranted }).Sessions[0]
	if granted.Dest != dest || granted.Transport != "" {
		t.Errorf("a client after the reply: got %+v", granted)
	}
	client.Write(v1Message(mainnet, "version", version))
	client.Write(v1Message(mainnet, "verack", nil))
	client.Write(v1Message(mainnet, "something", nil))
	id := receive(t, ids, "the handshake")
	e.until("both messages to leave", func(s proxy.Snapshot) bool { return s.Sessions[0].MessagesToPeer == 3 })
	close(goOn)
	for range 2 {
		if _, _, err := readV1(client); err != nil {
			t.Error(err)
		}
	}
	now = e.until("three packets", func(s proxy.Snapshot) bool { return s.Sessions[0].Dropped == 1 })
	got := now.Sessions[0]
	want := proxy.SessionInfo{
		Number: 1, Began: got.Began, State: proxy.StateOpen, Client: client.LocalAddr().String(), Dest: dest,
		Network: "mainnet", Transport: "v2", SessionID: hex.EncodeToString(id[:]),
		ClientAgent: "/clear-text-user-agent:1", PeerAgent: "/Sato?shi:31.0/x",
		Traffic: proxy.Traffic{
			MessagesToPeer: 3, BytesToPeer: uint64(3*24 + len(version)),
			MessagesToClient: 2, BytesToClient: uint64(2*24 + 80 + 17 + 5 + len(version)), Dropped: 1,
		},
		LastToPeer: "other", LastToClient: "inv",
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, s := range []proxy.Snapshot{now, ended(e, client)} { // open or ended, the session counts
		if s.Opened["v2"] != 1 || s.Traffic["v2"] != want.Traffic || s.Handshakes.Count != 1 || s.Handshakes.Sum <= 0 {
			t.Errorf("opened %v, traffic %v, handshakes %+v", s.Opened, s.Traffic, s.Handshakes)
		}
	}
	closed := e.server.Snapshot().Closed
	if len(closed) != 1 || closed[0].Dest != dest || closed[0].Transport != "v2" || closed[0].Reason != "the client closed the connection" ||
		closed[0].PeerAgent != want.PeerAgent || closed[0].Kind != "" || closed[0].Seconds <= 0 {
		t.Errorf("closed: got %+v", closed)
	}
}

// ended closes the client's connection and returns a snapshot taken after its session.
func ended(e *env, client net.Conn) proxy.Snapshot {
	client.Close()
	return e.until("the end", func(s proxy.Snapshot) bool { return len(s.Sessions) == 0 })
}

// Every kind of refusal is listed, counted, and shown with a reason.
func TestSnapshotOfRefusals(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{
		Policy: proxy.Policy{
			Rules:           parseRules(t, "deny", "denied.example"),
			DenyPassthrough: true,
			Socks:           socks.Config{Timeout: time.Second},
		},
		FirstBytesTimeout: time.Second,
	})
	e.net.peer("hangsup.example:8333", func(nc *net.TCPConn, _ int) { nc.Read(make([]byte, 8192)); hangUp(nc) })
	e.net.peer("garbled.example:8333", func(nc *net.TCPConn, _ int) { nc.Write(randomBytes(5000, 1)); hangUp(nc) })
	e.net.peer("waits.example:8333", func(nc *net.TCPConn, _ int) { waitForEnd(nc) })
	v1 := v1Message(mainnet, "version", version)
	for _, c := range []struct {
		kind, dest string
		say        []byte // after the reply
		hint       string
	}{
		{"dial", "nowhere.example:8333", nil, ""},
		{"denied", "denied.example:8333", nil, ""},
		{"no_egress", "somebody.i2p:8333", nil, "-i2psam"},
		{"no_v2_answer", "hangsup.example:8333", v1, "--v1-fallback always"},
		{"handshake", "garbled.example:8333", v1, "another network"},
		{"passthrough_denied", "waits.example:8333", randomBytes(100, 2), "--passthrough allow"},
		{"client", "waits.example:8333", v1[:10], ""},
	} {
		before := e.server.Snapshot()
		client := e.dial()
		ask(client, c.dest)
		client.Write(c.say)
		now := e.until("a refusal", func(s proxy.Snapshot) bool { return len(s.Refusals) > len(before.Refusals) })
		got := now.Refusals[0]
		if got.Kind != c.kind || got.Dest != c.dest || got.Reason == "" || !strings.Contains(got.Hint, c.hint) || got.Transport != "" {
			t.Errorf("%s: got %+v", c.kind, got)
		}
		want := maps.Clone(before.Refused)
		want[c.kind]++
		if !maps.Equal(now.Refused, want) {
			t.Errorf("%s: refused %v, before %v", c.kind, now.Refused, before.Refused)
		}
		client.Close()
	}
	now := e.until("all to end", func(s proxy.Snapshot) bool { return len(s.Sessions) == 0 })
	if got, want := slices.Sorted(maps.Keys(now.Refused)), slices.Sorted(slices.Values(proxy.RefusalKinds)); !slices.Equal(got, want) {
		t.Errorf("kinds %v, want %v", got, want)
	}
}

// A client that only tests whether the port is open is counted, but not kept; of the others the
// last fifty are kept.
func TestSnapshotKeepsFew(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	e.dial().Close()
	e.until("the look", func(s proxy.Snapshot) bool { return s.Refused["client_left"] == 1 })
	const n = 60
	for i := range n {
		client := e.dial()
		ask(client, fmt.Sprintf("%d.example:8333", i))
		e.end(client)
	}
	now := e.server.Snapshot()
	if now.Refused["dial"] != n || len(now.Refusals) != 50 || now.Refusals[0].Dest != "59.example:8333" || now.Refusals[49].Dest != "10.example:8333" {
		t.Errorf("%d refused, %d kept: %+v", now.Refused["dial"], len(now.Refusals), now.Refusals)
	}
}

func TestSnapshotOfFallbacks(t *testing.T) {
	t.Parallel()
	peers := new(fallback.Peers)
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{
		Mode: fallback.Always, Peers: peers, FirstByteTimeout: time.Second}, CJDNSReachable: true}})
	peers.Note("refused.example:8333", fallback.RefusedV2)
	for _, c := range []struct {
		cause, dest string
		end         ending
	}{
		{"hung_up", "hangsup.example:8333", fin},
		{"silent", "silent.example:8333", stall},
		{"refused_v2", "refused.example:8333", stall},
		{"known_v1", "hangsup.example:8333", fin},
		{"hung_up", "[fc00::1]:8333", fin},
	} {
		before := e.server.Snapshot()
		e.v1Node(t, c.dest, c.end)
		client := e.connect(c.dest)
		client.Write(v1Message(mainnet, "version", version))
		now := e.until("v1", func(s proxy.Snapshot) bool { return s.Opened["v1"] > before.Opened["v1"] })
		want := maps.Clone(before.Fallbacks)
		want[c.cause]++
		live := now.Sessions[len(now.Sessions)-1]
		if !maps.Equal(now.Fallbacks, want) || live.Fallback != c.cause || live.Transport != "v1" || live.ClientAgent == "" || live.Overlay != (c.dest == "[fc00::1]:8333") {
			t.Errorf("%s: fallbacks %v, session %+v", c.cause, now.Fallbacks, live)
		}
		client.Close()
		e.until("the end", func(s proxy.Snapshot) bool { return len(s.Sessions) == 0 })
	}
	if now := e.server.Snapshot(); now.Peers.V1 == 0 || now.Peers.RefusedV2 == 0 {
		t.Errorf("known peers %+v, want some on v1 and one that refused v2", now.Peers)
	}
}

// During concurrent changes no count decreases, and JSON has lists, not null, for lists.
func TestSnapshotOnlyGrows(t *testing.T) {
	t.Parallel()
	e := start(t, &proxy.Server{})
	e.net.peer("echo.example:1", echo)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		var before proxy.Snapshot
		for ctx.Err() == nil {
			now := e.server.Snapshot()
			if a, b := before.Traffic["passthrough"], now.Traffic["passthrough"]; b.BytesToPeer < a.BytesToPeer || b.BytesToClient < a.BytesToClient ||
				now.Opened["passthrough"] < before.Opened["passthrough"] {
				t.Errorf("got %+v after %+v", now, before)
				return
			}
			before = now
		}
	})
	const clients = 100
	each(clients, 8, func(int) {
		client := e.connect("echo.example:1")
		client.Write([]byte("no bitcoin"))
		client.Read(make([]byte, 10))
		client.Close()
	})
	now := e.until("the end", func(s proxy.Snapshot) bool { return len(s.Sessions) == 0 })
	cancel()
	watching.Wait()
	if got, want := now.Traffic["passthrough"], (proxy.Traffic{BytesToPeer: 10 * clients, BytesToClient: 10 * clients}); got != want || now.Opened["passthrough"] != clients {
		t.Errorf("got %+v, %v opened", got, now.Opened)
	}
	b, err := json.Marshal(new(proxy.Server).Snapshot())
	if err != nil || strings.Contains(string(b), "null") {
		t.Errorf("got %s, %v", b, err)
	}
}

// The user agent is read from VERSION only, not from data that looks like one: neither from the
// first message after a damaged VERSION, nor from the one behind a VERSION too short to have any.
func TestNoUserAgentButOfVersion(t *testing.T) {
	t.Parallel()
	peers := new(fallback.Peers)
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Mode: fallback.Always, Peers: peers}}})
	e.net.peer("v2.example:8333", v2Peer(func(c *transport.Conn) {
		for {
			if _, err := c.ReadPacket(); err != nil {
				return
			}
		}
	}))
	client := e.connect("v2.example:8333")
	damaged := v1Message(mainnet, "version", version)
	damaged[len(damaged)-1]++
	client.Write(damaged)
	client.Write(v1Message(mainnet, "tx", version))
	s := e.until("v2", func(s proxy.Snapshot) bool { return s.Opened["v2"] == 1 && s.Sessions[0].MessagesToPeer == 1 }).Sessions[0]
	if s.ClientAgent != "" || s.LastToPeer != "tx" || s.Dropped != 1 {
		t.Errorf("got %+v", s)
	}
	client.Close()

	peers.Note("v1.example:8333", fallback.SpeaksV1)
	behind := v1Message(mainnet, "tx", append(make([]byte, 80-46-24), "\x05agent"...)) // where VERSION has it
	e.net.peer("v1.example:8333", func(nc *net.TCPConn, _ int) {
		readV1(nc)
		nc.Write(slices.Concat(v1Message(mainnet, "version", version[:46]), behind))
		waitForEnd(nc)
	})
	other := e.connect("v1.example:8333")
	other.Write(v1Message(mainnet, "version", version))
	n := uint64(24 + 46 + len(behind))
	for _, s := range e.until("v1", func(s proxy.Snapshot) bool { return s.Traffic["v1"].BytesToClient == n }).Sessions {
		if s.PeerAgent != "" {
			t.Errorf("got %+v", s)
		}
	}
	other.Close()
}
