package test

import (
	"fmt"
	"strings"
	"testing"

	product "bip324proxy/proxy"
	"bip324proxy/test/hostile"
)

// madeShaped returns a snapshot of sessions in each shape, one of them inbound, and one in none.
func madeShaped() *product.Snapshot {
	s := madeInbound()
	s.Sessions = nil
	for i, shape := range append([]string{""}, product.Shapes...) {
		each := madeSession(i)
		if shape == "tunnel" {
			each = madePeer(i)
		}
		each.Shaping = product.Shaping{Shape: shape, FillerToPeer: 43_700_000, FillerFromPeer: uint64(12 * i)}
		s.Sessions = append(s.Sessions, each)
	}
	all := madeSnapshot(s.Sessions...)
	all.Inbound = s.Inbound
	all.ShapingTotals = product.ShapingTotals{Filler: product.Filler{ToPeer: 91_000_000, FromPeer: 40}, ShapeOverflows: 1}
	all.Inbound.ShapingTotals = product.ShapingTotals{Filler: product.Filler{ToPeer: 1_000_000, FromPeer: 2_000}, ShapeOverflows: 2}
	return all
}

// The page shows the shape of each session, its filler, and what all of it costs; it has nothing of
// that if nothing is shaped.
func TestStatusPageShaping(t *testing.T) {
	t.Parallel()
	browserPath(t)
	made := serveMadeStatus(t)
	made.now.Store(madeShaped())
	tab := openStatus(t, made.addr)
	says := func(id, what string) {
		t.Helper()
		tab.until(fmt.Sprintf(`document.getElementById(%q)?.innerText.includes(%q)`, id, what))
	}
	says("shape-count", "4 sessions")
	says("shape-facts", "1 core: VERSION leaves when Bitcoin Core's would")
	says("shape-facts", "1 cover: what is sent to the peer has one size, at random times; what the peer sends is not hidden\n1 tunnel: what both ends send has one size, at random times; large amounts remain visible\n1 not shaped")
	says("shape-facts", "Filler since the start\n92 MB to peers, 2.0 kB from peers")
	says("shape-facts", "3, which left at once")
	rowOf := func(dest string) string {
		t.Helper()
		return eval[string](tab, fmt.Sprintf(`[...document.querySelectorAll("#session-rows tr")].find(tr => tr.innerText.includes(%q)).innerText`, dest))
	}
	for _, s := range made.now.Load().Sessions {
		text := rowOf(s.Dest)
		if shaped := s.Shape != ""; strings.Contains(text, "+ 44 MB filler") != shaped || shaped != strings.Contains(text, "mainnet · "+s.Shape) {
			t.Errorf("shape %q: the row says %q", s.Shape, text)
		}
	}
	if text := rowOf(madePeer(4).Dest); !strings.Contains(text, "+ 48 B filler") {
		t.Errorf("the row of the tunnel says %q", text)
	}
	eval[any](tab, `(f => { f.value = "cover"; f.dispatchEvent(new Event("input")); })(document.getElementById("filter"))`)
	tab.until(peers + fmt.Sprintf(` === %q`, madeSession(3).Dest))

	made.now.Store(madeStates["one"]())
	tab.open("http://" + made.addr + "/?without")
	tab.until(`location.search === "?without" && document.querySelectorAll("#session-rows tr").length === 1`)
	if eval[bool](tab, `document.getElementById("shape-panel").checkVisibility() || document.body.innerText.includes("filler")`) {
		t.Error("something about shaping is shown, though nothing is shaped")
	}
	if all := tab.complaints(); len(all) > 0 {
		t.Errorf("unexpected console output %s", all)
	}
}

// The page of a proxy with --shape says so before there is a session, and shows that a session is
// shaped.
func TestStatusPageOfShapedProxy(t *testing.T) {
	t.Parallel()
	browserPath(t)
	proxy := startProxy(t, "--status", "127.0.0.1:0", "--shape", "pad,bucket=2048", "--upstream", "socks5://"+startWorld(t, map[string]played{
		"192.0.2.17:8333": hostile.Node("/Satoshi:30.0.0/"),
	}))
	tab := openStatus(t, proxy.statusAddr(t))
	tab.until(`document.getElementById("shape-facts").innerText.startsWith("Live sessions\nnone")`)
	v1Client(t, proxy.addr, "192.0.2.17:8333", clientAgent)
	tab.until(row(0) + `?.innerText.includes("mainnet · pad")`)
	tab.until(row(0) + `.innerText.match(/\+ [1-9].* filler/) !== null`)
	tab.until(`document.getElementById("shape-facts").innerText.startsWith("Live sessions\n1 pad: ")`)
}
