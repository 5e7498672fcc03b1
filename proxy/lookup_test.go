package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"bip324proxy/internal/dns"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// texts returns addresses as texts, in order.
func texts(ips []netip.Addr) (all []string) {
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	slices.Sort(all)
	return all
}

// lastLine returns the last line of the log with this message.
func (e *env) lastLine(msg string) logLine {
	e.t.Helper()
	lines := e.logs.all()
	for _, line := range slices.Backward(lines) {
		if line["msg"] == msg {
			return line
		}
	}
	e.t.Fatalf("no line %q in the log:\n%s", msg, e.logs.text())
	return nil
}

// Lookup returns all addresses that the rules allow, but none that may stand for another name.
func TestLookup(t *testing.T) {
	resolver(t, func(int) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("198.51.100.1"), dns.Pool.Addr().Next()}
	})
	for _, c := range []struct {
		rules []string
		name  string
		want  string
		rule  string // that denies it
	}{
		{nil, "node.example", "192.0.2.1 192.0.2.2 198.51.100.1", ""},
		{[]string{"deny", "192.0.2.1"}, "node.example", "192.0.2.2 198.51.100.1", ""},
		{[]string{"allow", "192.0.2.1", "deny", "192.0.2.0/24"}, "node.example", "192.0.2.1 198.51.100.1", ""},
		{[]string{"deny", "192.0.2.0/24:25"}, "node.example", "192.0.2.1 192.0.2.2 198.51.100.1", ""},
		{[]string{"deny", "192.0.2.0/24", "deny", "198.51.100.1"}, "node.example", "", "192.0.2.0/24 198.51.100.1"},
		{[]string{"deny", "*.example"}, "node.example", "", "*.example"},
		{[]string{"deny", "*.example"}, "NODE.EXAMPLE.", "", "*.example"},
		{nil, "localhost", "127.0.0.1 ::1", ""},
		{[]string{"deny", "private"}, "localhost", "", "private"},
		{nil, "2001:db8::1", "2001:db8::1", ""},
		{[]string{"deny", "2001:db8::/32"}, "2001:db8::1", "", "2001:db8::/32"},
	} {
		e := start(t, &proxy.Server{Policy: proxy.Policy{Rules: parseRules(t, c.rules...)}})
		ips, err := e.server.Lookup(t.Context(), c.name)
		if got := strings.Join(texts(ips), " "); got != c.want {
			t.Errorf("%q, %s: got %s, %v; want %s", c.rules, c.name, got, err, c.want)
		}
		var denied *rules.DeniedError
		if errors.As(err, &denied) != (c.rule != "") || denied != nil && !slices.Contains(strings.Fields(c.rule), denied.Rule) {
			t.Errorf("%q, %s: got %v, want it denied by %q", c.rules, c.name, err, c.rule)
		}
		counts := e.server.Snapshot().Refused
		if n := counts[proxy.KindDenied]; (n == 1) != (c.rule != "") {
			t.Errorf("%q, %s: %d counted as denied", c.rules, c.name, n)
		}
		if c.rule == "" {
			wantAttrs(t, e.lastLine("name resolved"), logLine{"level": "DEBUG", "dest": c.name})
		} else {
			wantAttrs(t, e.lastLine("name not resolved"), logLine{"level": "DEBUG", "dest": c.name, "reason": err.Error()})
		}
	}
	if e := start(t, new(proxy.Server)); true {
		ips, err := e.server.Lookup(t.Context(), "name.onion")
		var notFound *net.DNSError
		if !errors.As(err, &notFound) || !notFound.IsNotFound || !errors.Is(err, proxy.ErrNoEgress) {
			t.Errorf("without an upstream: got %v, %v", ips, err)
		}
		if refused := e.server.Snapshot().Refusals; len(refused) > 0 {
			t.Errorf("a name that does not exist is among the refusals: %v", refused)
		}
	}
}

// With an upstream proxy, it resolves names; those that it cannot resolve get an address for
// ServeTransparent.
func TestLookupUpstream(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	u.resolve["node.example"] = netip.MustParseAddr("192.0.2.9")
	u.resolve["denied.example"] = netip.MustParseAddr("198.51.100.1")
	u.refuse["names.example"] = socks.CommandNotSupported
	e := u.startBehind(t, &proxy.Server{Policy: proxy.Policy{Rules: parseRules(t, "deny", "198.51.100.0/24", "deny", "denied.onion")}})
	for _, c := range []struct {
		name  string
		want  string // the address, or "pool"
		asked bool
		kind  string
	}{
		{"node.example", "192.0.2.9", true, ""},
		{"unknown.example", "", true, proxy.KindResolve},
		{"denied.example", "", true, proxy.KindDenied},
		{"names.example", "pool", true, ""},
		{"name.onion", "pool", false, ""},
		{"name.b32.i2p", "pool", false, ""},
		{"denied.onion", "", false, proxy.KindDenied},
	} {
		before := e.server.Snapshot().Refused
		ips, err := e.server.Lookup(t.Context(), c.name)
		switch {
		case c.want == "pool" && (len(ips) != 1 || !dns.Pool.Contains(ips[0])),
			c.want == "" && err == nil, c.want != "pool" && strings.Join(texts(ips), " ") != c.want:
			t.Errorf("%s: got %v, %v; want %q", c.name, ips, err, c.want)
		}
		if n := len(u.requests()); (n == 1) != c.asked || n > 1 {
			t.Errorf("%s: %d requests to the upstream proxy", c.name, n)
		}
		for kind, n := range e.server.Snapshot().Refused {
			if (n == before[kind]+1) != (kind == c.kind) {
				t.Errorf("%s: %d counted as %s, before %d", c.name, n, kind, before[kind])
			}
		}
	}
}

// Names are looked up by the dialer's Resolve, if there is one, and not by the system.
func TestLookupByDialer(t *testing.T) {
	asked := resolver(t, func(int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.1")} })
	ip := netip.MustParseAddr("192.0.2.9")
	e := start(t, &proxy.Server{Policy: proxy.Policy{Dialer: fallback.Dialer{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{ip}, nil
	}}}})
	if ips, err := e.server.Lookup(t.Context(), "node.example"); err != nil || !slices.Equal(ips, []netip.Addr{ip}) {
		t.Errorf("Lookup: got %v, %v", ips, err)
	}
	if got, want := askResolve(t, e.dial(), resolveName("node.example")), []byte{5, 0, 0, 1, 192, 0, 2, 9, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("RESOLVE: got % x, want % x", got, want)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the system's resolver was asked %d times", n)
	}
}

// A name whose upstream proxy is not that of its address must not get that address: the
// connection would go another way.
func TestLookupRoute(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	u.resolve["node.example"] = netip.MustParseAddr("192.0.2.9")
	to, err := rules.ParseRule("*.example")
	if err != nil {
		t.Fatal(err)
	}
	e := start(t, &proxy.Server{Policy: proxy.Policy{Routes: []proxy.Route{{To: to, Upstream: u.Upstream}}}})
	if ips, err := e.server.Lookup(t.Context(), "node.example"); len(ips) != 1 || !dns.Pool.Contains(ips[0]) {
		t.Errorf("got %v, %v, want an address that leads to the name", ips, err)
	}
}

// The log of a server that hides addresses has no names.
func TestLookupRedacted(t *testing.T) {
	resolver(t, func(int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.1")} })
	e := start(t, &proxy.Server{Policy: proxy.Policy{HideAddresses: true, Rules: parseRules(t, "deny", "denied.example")}})
	for _, name := range []string{"node.example", "denied.example", "name.onion"} {
		e.server.Lookup(t.Context(), name)
	}
	e.lastLine("name resolved")
	e.lastLine("name not resolved")
	if found := addressesIn(e.logs.text(), ""); found != "" {
		t.Errorf("the log has %q:\n%s", found, e.logs.text())
	}
}

// A lookup ends with the server.
func TestLookupCanceled(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and does not answer
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server := &proxy.Server{Policy: proxy.Policy{Upstream: &socks.Upstream{Network: "tcp", Address: l.Addr().String()}}}
	looked := make(chan error, 1)
	go func() {
		_, err := server.Lookup(t.Context(), "node.example")
		looked <- err
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	server.Close()
	if err := receive(t, looked, "Lookup to return"); err == nil {
		t.Error("no error")
	}
}
