package check

import (
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/rules"
)

// Each upstream proxy of some destinations has a line, and so do the other connections.
func TestRoutes(t *testing.T) {
	must := func(text string) rules.Rule {
		r, err := rules.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	tor := newFakeTor(t)
	onion, i2p := proxy.Route{To: must("*.onion"), Upstream: tor.upstream()}, proxy.Route{To: must("*.i2p"), Upstream: newUpstream(plainSOCKS5(t))}
	plainOnion := proxy.Route{To: must("*.onion"), Upstream: i2p.Upstream}
	const isTor = "ADDR: this is Tor: it answers as only Tor does -> only a peer can show whether it is connected to its network: bip324-proxy check HOST:PORT"
	const notTor = "ADDR: this is a SOCKS5 proxy, but not Tor (its answer to Tor's RESOLVE: command not supported)"
	const other = "skipped upstream none for all others: the proxy connects to these peers directly, and they see this machine's address"
	const keep = " -> keep Bitcoin Core's -onion= at Tor itself: its private broadcast goes to clearnet, too, through the proxy that has reached an onion peer"
	for _, c := range []struct {
		policy proxy.Policy
		want   []string
	}{
		{proxy.Policy{Routes: []proxy.Route{onion, i2p}}, []string{"ok upstream *.onion through " + isTor, "ok upstream *.i2p through " + notTor, other + keep}},
		{proxy.Policy{Routes: []proxy.Route{i2p}}, []string{"ok upstream *.i2p through " + notTor, other}},
		{proxy.Policy{Routes: []proxy.Route{plainOnion}}, []string{"warning upstream *.onion through " + notTor +
			" -> these connections go through it anyway; it probably cannot reach .onion peers, and it sees whom you connect to", other + keep}},
		{proxy.Policy{Routes: []proxy.Route{i2p}, Upstream: onion.Upstream}, []string{"ok upstream *.i2p through " + notTor, "ok upstream * through " + isTor}},
	} {
		results, answers := (&Subject{Policy: c.policy}).upstreams(within(t))
		for i, r := range results {
			report := Report{Checks: []Result{r}}
			if got := text(t, &report); i >= len(c.want) || got != c.want[i] {
				t.Errorf("got  %s\nwant %q", got, c.want)
			}
		}
		if len(results) != len(c.want) || answers != (c.policy.Upstream != nil) {
			t.Errorf("%d results, want %d; Tor: %v", len(results), len(c.want), answers)
		}
	}

	// A peer is checked the way that the proxy would take.
	s := &Subject{Policy: proxy.Policy{Routes: []proxy.Route{onion}}}
	if r := s.network(); r.State == Skipped {
		t.Errorf("got %+v", r)
	}
	if r := s.names(nil, false); r.State != Warning || !strings.Contains(r.What, "except those with an upstream proxy") {
		t.Errorf("got %+v", r)
	}
	for peer, want := range map[string]string{"abc.onion": "ok upstream *.onion through " + isTor, testkit.Nobody(t): "failed connect ADDR: cannot connect: connection refused"} {
		r := PeerReport(within(t), s, target(t, peer))
		if got := text(t, &r); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s", peer, got)
		}
	}
}
