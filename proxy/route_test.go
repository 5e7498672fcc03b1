package proxy_test

import (
	"bytes"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

func rule(t *testing.T, text string) rules.Rule {
	t.Helper()
	r, err := rules.ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A destination goes through the upstream proxy of the first route that matches, or else directly;
// so do its retries and the decision about v1.
func TestRoutes(t *testing.T) {
	tor, i2p := newUpstream(t, "tcp", "127.0.0.1:0"), newUpstream(t, "tcp", "127.0.0.1:0")
	tor.resolve["0.0.0.0"] = netip.MustParseAddr("0.0.0.0")
	routes := []proxy.Route{{To: rule(t, "*.onion"), Upstream: tor.Upstream}, {To: rule(t, "*.i2p"), Upstream: i2p.Upstream},
		{To: rule(t, "192.0.2.8")}, {To: rule(t, "192.0.2.0/24"), Upstream: i2p.Upstream}, {To: rule(t, "*:18333"), Upstream: tor.Upstream}}
	e := start(t, &proxy.Server{Policy: proxy.Policy{Routes: routes, Dialer: fallback.Dialer{Mode: fallback.Overlay}}})
	const direct, exception, other = "203.0.113.1:8333", "192.0.2.8:8333", "[64:ff9b::cb00:7101]:8333"
	for _, c := range []struct {
		dest string
		way  *fakeUpstream // nil: direct
	}{
		{"abcdefgh.onion:8333", tor},
		{"ABC.Onion.:8333", tor},
		{"name.b32.i2p:8333", i2p},
		{"192.0.2.7:8333", i2p},
		{"192.0.2.7:18333", i2p}, // the first that matches counts
		{"203.0.113.1:18333", tor},
		{"[64:ff9b::c000:207]:8333", i2p}, // NAT64: the same host
		{"[2002:c000:207::1]:8333", i2p},
		{"[64:ff9b::c000:208]:8333", i2p}, // an exception is literal
		{direct, nil},
		{exception, nil},
		{other, nil},
	} {
		t.Run(c.dest, func(t *testing.T) {
			var want []asked
			peers := e.net
			if c.way != nil {
				want, peers = []asked{{command: socks.CommandConnect, dest: c.dest}}, c.way.net
			}
			got := (&env{t: t, net: peers}).v2Recorder(c.dest)
			client := e.connect(c.dest)
			client.Write(v1Message(mainnet, "version", version))
			leave(t, client)
			receive(t, got, "the peer")
			wantAttrs(t, e.end(client), logLine{"msg": "session closed", "transport": "v2", "dest": c.dest})
			for _, u := range []*fakeUpstream{tor, i2p} {
				if all := u.requests(); u == c.way && !slices.Equal(all, want) || u != c.way && all != nil {
					t.Errorf("requests to the upstream proxy: %v", all)
				}
			}
		})
	}
	if all := e.net.dials; !maps.Equal(all, map[string]int{direct: 1, exception: 1, other: 1}) {
		t.Errorf("dialled %v directly, want only %s, %s and %s", all, direct, exception, other)
	}

	// v1 may be spoken to .onion, since that upstream is Tor on this machine, and nowhere else.
	for dest, u := range map[string]*fakeUpstream{"old.onion:8333": tor, "old.i2p:8333": i2p} {
		e := &env{t: t, net: u.net, server: e.server, logs: e.logs, addr: e.addr}
		u.net.tap = true
		got := e.v1Node(t, dest, fin)
		client := e.connect(dest)
		client.Write(v1Message(mainnet, "version", version))
		if u == tor {
			e.until("v1", func(s proxy.Snapshot) bool { return s.Opened["v1"] == 1 })
			client.Close()
			receive(t, got, "the peer")
			continue
		}
		wantClosed(t, client)
		e.wantEnd(client, "refused", reasonAfter(0, fin))
	}
}

// RESOLVE asks the upstream proxy of the name, whatever the port of its rule. The proxy is Tor only
// if all goes through Tor.
func TestResolveByRoute(t *testing.T) {
	tor := newUpstream(t, "tcp", "127.0.0.1:0")
	tor.resolve["0.0.0.0"] = netip.MustParseAddr("0.0.0.0")
	tor.resolve["name.onion"] = netip.MustParseAddr("192.0.2.7")
	tor.resolve["ported.invalid"] = netip.MustParseAddr("192.0.2.7")
	answer := []byte{5, 0, 0, 1, 192, 0, 2, 7, 0, 0}
	some := proxy.Policy{Routes: []proxy.Route{{To: rule(t, "*.onion"), Upstream: tor.Upstream},
		{To: rule(t, "ported.invalid:8333"), Upstream: tor.Upstream}, {To: rule(t, "0.0.0.0/0"), Upstream: tor.Upstream}}}
	e := start(t, &proxy.Server{Policy: some})
	for _, c := range []struct {
		name string
		want []byte
		asks bool
	}{
		{"name.onion", answer, true},
		{"ported.invalid", answer, true},
		{"name.i2p", cannotResolve, false},
		{"192.0.2.7", answer, false},
		{"0.0.0.0", cannotResolve, false},
	} {
		for _, port := range []byte{0, 80} { // of the request; it means nothing
			request := resolveName(c.name)
			request[len(request)-1] = port
			if got := askResolve(t, e.dial(), request); !bytes.Equal(got, c.want) {
				t.Errorf("%s, port %d: answer % x, want % x", c.name, port, got, c.want)
			}
			if all := tor.requests(); (len(all) == 1) != c.asks {
				t.Errorf("%s, port %d: requests to the upstream proxy: %v", c.name, port, all)
			}
		}
	}
	other := newUpstream(t, "tcp", "127.0.0.1:0")
	all := proxy.Policy{Upstream: tor.Upstream, Routes: []proxy.Route{{To: rule(t, "0.0.0.0/0"), Upstream: other.Upstream}}}
	e.server.SetPolicy(all)
	if got := askResolve(t, e.dial(), resolveName("0.0.0.0")); !bytes.Equal(got, []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("all through Tor: answer % x", got)
	}
}

// A snapshot has the state of each upstream proxy, by its rule; a new policy keeps what is known.
func TestRoutesInSnapshot(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	up, gone := newUpstream(t, "tcp", "127.0.0.1:0"), &socks.Upstream{Network: "tcp", Address: l.Addr().String()}
	p := proxy.Policy{Routes: []proxy.Route{{To: rule(t, "*.onion"), Upstream: up.Upstream}, {To: rule(t, "*.i2p"), Upstream: gone}}}
	e := start(t, &proxy.Server{Policy: p})
	e.server.ProbeUpstream(t.Context())
	want := func(n int, to, state string) {
		t.Helper()
		now := e.server.Snapshot()
		if now.Upstream != nil || len(now.Routes) <= n || now.Routes[n].To != to || now.Routes[n].State != state {
			t.Errorf("got %+v, %+v; want %s %s", now.Upstream, now.Routes, to, state)
		}
	}
	want(0, "*.onion", "reached")
	want(1, "*.i2p", "failed")
	p.Routes = []proxy.Route{{To: rule(t, "*.b32.i2p"), Upstream: gone}, {To: rule(t, "*.test"), Upstream: &socks.Upstream{Network: "tcp", Address: "127.0.0.1:1"}}}
	e.server.SetPolicy(p)
	want(0, "*.b32.i2p", "failed")
	want(1, "*.test", "unknown")
}
