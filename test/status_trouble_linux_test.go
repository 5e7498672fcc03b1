package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"bip324proxy/test/hostile"
)

// One plaintext session among many is in the first row, the search finds sessions that are not shown, and a tile
// selects the sessions that it counts.
func TestStatusPageOfMany(t *testing.T) {
	t.Parallel()
	browserPath(t)
	const many = 320
	peers := map[string]played{"203.0.113.5:8333": v1Peer("/Old:0.1/")}
	for i := range many {
		peers[fmt.Sprintf("10.0.%d.%d:8333", i/250, i%250)] = hostile.Node("/Satoshi:30.0.0/")
	}
	proxy := startProxy(t, "--status", "127.0.0.1:0", "--v1-fallback", "always", "--allow", "10.0.0.0/8", "--upstream", "socks5://"+startWorld(t, peers))
	v1Client(t, proxy.addr, "203.0.113.5:8333", clientAgent)
	for i := range many {
		v1Client(t, proxy.addr, fmt.Sprintf("10.0.%d.%d:8333", i/250, i%250), clientAgent)
	}
	addr := proxy.statusAddr(t)
	tab := openStatus(t, addr)
	tab.until(fmt.Sprintf(`document.getElementById("live-v2").textContent === "%d"`, many))
	tab.until(row(0) + `?.innerText.includes("203.0.113.5:8333")`)
	tab.until(`document.getElementById("sessions-count").textContent === "321; 50 shown, plaintext first, 271 not shown"`)
	find := func(what, found string, rows int) {
		t.Helper()
		eval[any](tab, fmt.Sprintf(`(f => { f.value = %q; f.dispatchEvent(new Event("input")); })(document.getElementById("filter"))`, what))
		tab.until(fmt.Sprintf(`document.getElementById("found").textContent.startsWith(%q) && document.querySelectorAll("#session-rows tr").length === %d`, found, rows))
	}
	find("10.0.0.0:8333", "1 live, 0 failed", 1) // one of the oldest
	find("203.0.113.5", "1 live", 1)
	find("10.0.1.", "70 live", 50)
	find("198.51.100.1", "No match", 0)
	find("", "", 50)
	tab.click(`document.querySelector('.tile button[value="v1"]')`)
	tab.until(`document.querySelectorAll("#session-rows tr").length === 1 && document.getElementById("sessions-count").textContent === "1 of 321 match"`)
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		for _, width := range []int{1280, 360} {
			tab.look(width, 900, "light")
			os.WriteFile(fmt.Sprintf("%s/many-%d.png", dir, width), tab.screenshot(false), 0o600)
		}
		tab.look(1280, 900, "light")
	}
	tab.click(`document.getElementById("all")`)
	tab.until(`document.querySelectorAll("#session-rows tr").length === 50 && document.getElementById("all").hidden`)
	if all := tab.complaints(); len(all) > 0 {
		t.Errorf("unexpected console output %s", all)
	}

	code, text, _ := run(t, "status", addr)
	if first := strings.Index(text, "v1 PLAINTEXT"); code != 0 || first < 0 || first > strings.Index(text, "10.0.0.") || !strings.Contains(text, "PARTLY: 1 in plaintext (v1).\n") {
		t.Errorf("unexpected status: code %d, %.2000s", code, text)
	}
}

// Page, terminal and log report that the upstream proxy is down, before any client connects, and when it is back.
func TestUpstreamDownIsTold(t *testing.T) {
	t.Parallel()
	down := freeAddr(t) // until there is an upstream proxy
	proxy := startProxy(t, "--status", "127.0.0.1:0", "--upstream", "socks5://"+down)
	addr := proxy.statusAddr(t)
	proxy.await(t, "the warning", func(e event) bool {
		return e.Msg == "the upstream proxy cannot be used" && e.Level == "WARN" && strings.Contains(e.Reason, down+" cannot be reached: connection refused")
	})
	upstream := func() (state, reason string) {
		r, err := http.Get("http://" + addr + "/api/status")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var report struct {
			Upstream struct{ State, Reason string }
		}
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			t.Fatal(err)
		}
		return report.Upstream.State, report.Upstream.Reason
	}
	if state, reason := upstream(); state != "failed" || !strings.Contains(reason, "connection refused") {
		t.Errorf("unexpected state %s: %s", state, reason)
	}
	if r, err := http.Get("http://" + addr + "/readyz"); err != nil || r.StatusCode != 200 {
		t.Errorf("ready: %v, %v", r, err)
	} else {
		r.Body.Close()
	}
	if c, err := hostile.Connect(proxy.addr, "192.0.2.1:8333", patience); err == nil {
		c.Close()
		t.Error("a client connected without the upstream proxy")
	}
	_, text, _ := run(t, "status", addr)
	for _, want := range []string{"Nothing is sent: the upstream is down.\n", "the upstream proxy " + down + " cannot be reached: connection refused\n-> start that proxy, or correct --upstream"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	browserPath(t)
	tab := openStatus(t, addr)
	tab.until(`document.getElementById("headline").textContent === "No connections: the upstream proxy is unavailable."`)
	tab.until(`document.querySelectorAll("#refusal-rows tr").length === 1`)
	s := eval[string](tab, "document.body.innerText")
	if !strings.Contains(s, "cannot be reached: connection refused.\nStart that proxy, or correct --upstream") || strings.Contains(s, "No action needed") || strings.Contains(s, "Set your Bitcoin client") {
		t.Errorf("unexpected answer on the page: %s", s)
	}
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		for _, scheme := range []string{"light", "dark"} {
			tab.look(1280, 900, scheme)
			os.WriteFile(dir+"/down-"+scheme+".png", tab.screenshot(false), 0o600)
		}
		tab.look(360, 900, "light")
		os.WriteFile(dir+"/down-360.png", tab.screenshot(false), 0o600)
	}
	startUpstream(t, down, false, anywhere(hostile.Node("/Satoshi:30.0.0/")))
	v1Client(t, proxy.addr, "192.0.2.1:8333", clientAgent)
	tab.until(`document.getElementById("headline").textContent.startsWith("Yes.")`)
	if state, _ := upstream(); state != "reached" {
		t.Errorf("got state %s after the upstream came back", state)
	}
}

// If every attempt fails, the page says why instead of how to set up a client.
func TestAllFailedIsTold(t *testing.T) {
	t.Parallel()
	proxy := startProxy(t, "--status", "127.0.0.1:0", "--upstream", "socks5://"+startWorld(t, map[string]played{
		"203.0.113.5:8333": v1OnlyPeer,
		"203.0.113.6:80": func(nc *net.TCPConn) {
			nc.Read(make([]byte, 64))
			io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
		},
	}))
	addr := proxy.statusAddr(t)
	for _, dest := range []string{"203.0.113.5:8333", "203.0.113.5:8333", "203.0.113.5:8333", "203.0.113.6:80"} {
		v1Client(t, proxy.addr, dest, clientAgent)
		proxy.await(t, "the refusal", func(e event) bool { return (e.Msg == "session refused") })
	}
	var text string
	for range 100 {
		if _, text, _ = run(t, "status", addr); strings.Contains(text, "4 failed") {
			break
		}
	}
	for _, want := range []string{"Nothing is sent: all attempts failed.\n4 failed since ", "most often (3): 203.0.113.5:8333: the peer hung up", "(3 times since ", "the peer is not a Bitcoin node: it answered in HTTP"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Before the first connection the page says what is missing: a client that uses the page as its proxy is named,
// listeners that are not for SOCKS are not, and once a client has connected none is asked for.
func TestStatusPageFirstSteps(t *testing.T) {
	t.Parallel()
	browserPath(t)
	proxy := startProxy(t, "--status", "127.0.0.1:0", "--peer", freeAddr(t)+"=127.0.0.1:9")
	addr := proxy.statusAddr(t)
	tab := openStatus(t, addr)
	says := func(what string, want bool) {
		t.Helper()
		tab.until(fmt.Sprintf(`document.getElementById("detail").textContent.includes(%q) === %t`, what, want))
	}
	says("Set your Bitcoin client's SOCKS5 proxy to "+proxy.addr+"; its", true)
	lost, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	lost.Write([]byte{5, 1, 0})
	io.Copy(io.Discard, lost)
	says("A client ("+lost.LocalAddr().String()+") uses this status page's address as its proxy.Set its SOCKS5 proxy to "+proxy.addr+".", true)
	if c, err := net.Dial("tcp", proxy.addr); err == nil {
		c.Close()
	}
	says("Clients connect, but no peer has answered yet.", true)
	says("Set your Bitcoin client's", false)
}
