package proxy_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// A network encrypts for this machine only if it begins here: Tor with a local upstream proxy that
// is Tor; CJDNS if the user says so. Under overlay plaintext is sent nowhere else; under always it
// is not counted as encrypted either.
func TestOverlay(t *testing.T) {
	t.Parallel()
	const onion = "abcdefgh.onion:8333"
	for _, c := range []struct {
		name, network, dest string
		cjdns               bool
		answers             string // of the upstream proxy to the request that only Tor answers
		overlay             bool
		why                 string // part of the hint if overlay is false
	}{
		{"Tor", "tcp", onion, false, "0.0.0.0", true, ""},
		{"Tor at a socket", "unix", onion, false, "0.0.0.0", true, ""},
		{"Tor, any case", "tcp", "ABC.Onion.:8333", false, "0.0.0.0", true, ""},
		{"no Tor", "tcp", onion, false, "", false, "the upstream proxy does not answer as Tor does"},
		{"no Tor, CJDNS", "tcp", onion, true, "", false, "the upstream proxy does not answer as Tor does"},
		{"CJDNS", "tcp", cjdns, true, "", true, ""},
		{"no CJDNS", "tcp", cjdns, false, "0.0.0.0", false, "only with --cjdnsreachable"},
		{"a name", "tcp", "node.invalid:8333", true, "0.0.0.0", false, ""},
		{"what looks like onion", "tcp", "abc.onion.invalid:8333", true, "0.0.0.0", false, ""},
	} {
		for _, mode := range []fallback.Mode{fallback.Overlay, fallback.Always} {
			t.Run(fmt.Sprint(c.name, "/", mode), func(t *testing.T) {
				address := "127.0.0.1:0"
				if c.network == "unix" {
					address = filepath.Join(t.TempDir(), "upstream")
				}
				u := newUpstream(t, c.network, address)
				if c.answers != "" {
					u.resolve["0.0.0.0"] = netip.MustParseAddr(c.answers)
				}
				u.net.tap = true
				e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{CJDNSReachable: c.cjdns,
					Dialer: fallback.Dialer{Mode: mode, Peers: new(fallback.Peers), FirstByteTimeout: time.Minute}}})
				got := e.v1Node(t, c.dest, fin)
				client := e.connect(c.dest)
				client.Write(v1Message(mainnet, "version", version))
				if mode == fallback.Overlay && !c.overlay {
					wantClosed(t, client)
					line := e.wantEnd(client, "refused", reasonAfter(0, fin))
					if hint := fmt.Sprint(line["hint"]); !strings.Contains(hint, c.why) || !strings.Contains(hint, "nothing was sent in plaintext") {
						t.Errorf("the hint is %q, want one with %q", hint, c.why)
					}
					wantNoV1(t, e, c.dest)
					return
				}
				e.until("v1", func(s proxy.Snapshot) bool { return s.Opened["v1"] == 1 })
				if live := e.server.Snapshot().Sessions[0]; live.Overlay != c.overlay {
					t.Errorf("got %+v", live)
				}
				client.Close()
				receive(t, got, "the peer")
				level := map[bool]string{true: "INFO", false: "WARN"}[c.overlay]
				lines, _ := e.logs.of(client.LocalAddr())
				wantAttrs(t, lines[0], logLine{"msg": "session opened", "level": level})
				for _, a := range u.requests() {
					if a.command == socks.CommandResolve && a.dest != "0.0.0.0" {
						t.Errorf("request to the upstream proxy: %v", a)
					}
				}
			})
		}
	}
}

// Whether a proxy is local depends on the address connected to, not on its name.
func TestOverlayAt(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	u.resolve["0.0.0.0"] = netip.MustParseAddr("0.0.0.0")
	tcp := func(ip string) net.Addr {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 9050))
	}
	at := func(host string) socks.Addr {
		ip, _ := netip.ParseAddr(host)
		return socks.Addr{Host: host, IP: ip, Port: 8333}
	}
	for _, c := range []struct {
		host string
		via  net.Addr
		ok   bool
	}{
		{"a.onion", tcp("127.0.0.1"), true},
		{"a.onion", tcp("127.3.2.1"), true},
		{"a.onion", tcp("::1"), true},
		{"a.onion", &net.UnixAddr{Name: "/run/tor/socks", Net: "unix"}, true},
		{"a.onion", tcp("192.168.0.2"), false},
		{"a.onion", tcp("203.0.113.50"), false},
		{"a.onion", nil, false},
		{"fc00::1", tcp("127.0.0.1"), true},
		{"fc00::1", tcp("192.168.0.2"), false},
		{"fd00::1", tcp("127.0.0.1"), false},
		{"node.example", tcp("127.0.0.1"), false},
	} {
		p := proxy.Policy{Upstream: u.Upstream, CJDNSReachable: true}
		if err := p.Overlay(t.Context(), at(c.host), c.via); (err == nil) != c.ok {
			t.Errorf("%s via %v: got %v, want encrypted: %v", c.host, c.via, err, c.ok)
		}
	}
	direct := proxy.Policy{CJDNSReachable: true}
	if err := direct.Overlay(t.Context(), at("fc00::1"), tcp("fc00::1")); err != nil {
		t.Error(err)
	}
	if err := direct.Overlay(t.Context(), at("a.onion"), tcp("127.0.0.1")); err == nil {
		t.Error("without Tor, .onion counts as encrypted")
	}

	// An upstream proxy at a remote address is not even queried.
	far := proxy.Policy{Upstream: &socks.Upstream{Network: "tcp", Address: "203.0.113.50:9050"}, Dialer: fallback.Dialer{Mode: fallback.Overlay}}
	d, err := far.DialerTo(socks.Addr{Host: "a.onion", Port: 8333}, socks.Credentials{}, false)
	if err != nil || d.MayFallBack("a.onion:8333") || d.Overlay != nil {
		t.Errorf("got %+v, %v", d, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := proxy.Policy{Upstream: u.Upstream}
	if err := p.Overlay(ctx, at("a.onion"), tcp("127.0.0.1")); err == nil {
		t.Error("without an answer the proxy counts as Tor")
	}
}
