package test

import (
	"fmt"
	"strings"
	"testing"

	product "bip324proxy/proxy"
)

// madePeer returns the session of a peer that has come in.
func madePeer(n int) product.SessionInfo {
	s := madeSession(n)
	s.Inbound, s.Client, s.Source, s.Dest = true, "127.0.0.1:8334", fmt.Sprintf("127.130.7.%d:41234", n), fmt.Sprintf("203.0.113.%d:50000", n)
	return s
}

// madeInbound returns a snapshot with sessions in both directions, and a node that has gone down.
func madeInbound() *product.Snapshot {
	s := madeSnapshot(madeSession(1), madePeer(2), madePeer(3))
	counts := madeSnapshot().Counts
	s.Inbound = &product.InboundSnapshot{
		Listeners: []product.InboundListener{
			{Address: "0.0.0.0:8333", Node: "127.0.0.1:8334", Network: "mainnet", Source: "127.128.0.0/9"},
			{Address: "unix:/run/" + strings.Repeat("long-", 30) + "path", Node: "unix:/run/bitcoind.sock", Network: "mainnet"},
		},
		V1: "never", MaxSessions: 125, Pending: 3, Evicted: 7, Counts: counts,
	}
	in := s.Inbound
	s.Opened["v2"], in.Opened["v2"] = 1, 1200
	in.Refused["scanner"], in.Refused["v1_refused"], in.Refused["node"] = 98_765, 321, 12
	in.Refusals = []product.Outcome{{Number: 9, Inbound: true, Count: 12, First: madeTime, Time: madeTime, Client: "127.0.0.1:8334", Dest: "203.0.113.9:50000",
		Kind: "node", Reason: "cannot connect to the node at 127.0.0.1:8334: connection refused", Hint: "check that the node is running"}}
	in.Failing = &product.Failing{Count: 12, Since: madeTime, Kind: "node", OfKind: 12, Reason: in.Refusals[0].Reason, Hint: in.Refusals[0].Hint}
	in.Closed = []product.Outcome{{Number: 8, Inbound: true, Count: 1, First: madeTime, Time: madeTime, Client: "127.0.0.1:8334", Dest: "203.0.113.8:50000", Transport: "v2", Reason: "the node closed the connection"}}
	return s
}

// The page counts and lists both directions and selects one; it says where peers come in and how many
// were refused, and has nothing of that without --inbound.
func TestStatusPageInbound(t *testing.T) {
	t.Parallel()
	browserPath(t)
	made := serveMadeStatus(t)
	made.now.Store(madeInbound())
	tab := openStatus(t, made.addr)
	says := func(id, what string) {
		t.Helper()
		tab.until(fmt.Sprintf(`document.getElementById(%q)?.textContent.includes(%q)`, id, what))
	}
	says("headline", "Yes. All 3 connections through this proxy are encrypted.")
	says("detail", "No peer can connect: Cannot connect to the node at 127.0.0.1:8334: connection refused.Check that the node is running.")
	says("opened-v2", "1,201 since the start")
	says("refused", "12")
	says("session-rows", "203.0.113.3:50000/Satoshi:30.0.0/← inbound")
	says("session-rows", "127.0.0.1:8334the node; it sees 127.130.7.3:41234")
	says("refusal-rows", "The node did not accept the connection")
	says("closed-rows", "The node closed the connection")
	says("inbound-facts", "0.0.0.0:8333 → node 127.0.0.1:8334 (mainnet)")
	says("inbound-facts", "2 of at most 125; 3 connections have sent no VERSION yet")
	says("inbound-facts", "98,765: no v2 handshake and VERSION: mostly port scanners\n321: peers without v2, refused\n12:")

	choose := func(direction, want string) {
		t.Helper()
		eval[any](tab, fmt.Sprintf(`{ const select = document.getElementById("direction"); select.value = %q; select.onchange(); }`, direction))
		tab.until(fmt.Sprintf(`%s === %q`, peers, want))
	}
	choose("true", "203.0.113.3:50000 203.0.113.2:50000")
	tab.until(`location.hash === "#inbound=true" && document.getElementById("sessions-count").textContent === "2 of 3 match"`)
	choose("false", madeSession(1).Dest)
	tab.until(`document.querySelectorAll("#closed-rows tr").length === 0`)

	made.now.Store(madeStates["one"]())
	tab.open("http://" + made.addr + "/?without")
	tab.until(`location.search === "?without"`)
	says("detail", "Not shown: inbound connections to your node")
	if eval[bool](tab, `document.getElementById("inbound-panel").checkVisibility() || document.getElementById("directions").checkVisibility() || document.body.innerText.includes("← inbound")`) {
		t.Error("something about inbound is shown without --inbound")
	}
	if all := tab.complaints(); len(all) > 0 {
		t.Errorf("unexpected console output %s", all)
	}
}
