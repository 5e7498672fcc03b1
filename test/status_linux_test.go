package test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"bip324proxy/test/hostile"
)

const (
	onion       = "examplesofnodesarenottobefoundatanyaddressofthisnetworkyd.onion:8333"
	clientAgent = "/Satoshi:0.21.2/"

	// hostileAgent is HTML.
	hostileAgent = `/<img src=x onerror=alert(1)>:1/`
)

// statusAddr returns the address of the proxy's status page.
func (p *proxy) statusAddr(t *testing.T) string {
	t.Helper()
	return p.await(t, "the status page", func(e event) bool { return e.Msg == "status page" }).Addr
}

// openStatus opens the page and waits for its first update.
func openStatus(t *testing.T, addr string) *tab {
	t.Helper()
	tab := openTab(t)
	tab.call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	tab.look(1280, 900, "light")
	tab.open("http://" + addr + "/")
	tab.until(`document.getElementById("updated")?.textContent.startsWith("updated")`)
	return tab
}

// row returns the row of the i-th live session.
func row(i int) string { return fmt.Sprintf(`document.querySelectorAll("#session-rows tr")[%d]`, i) }

// The page answers whether traffic is encrypted, and shows a session and its progress.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	browserPath(t)
	whole := t
	proxy := startProxy(t, "--status", "127.0.0.1:0", "--v1-fallback", "overlay", "--upstream", "socks5://"+startWorld(t, map[string]played{
		"192.0.2.17:8333":        hostile.Node("/Satoshi:30.0.0/"),
		"192.0.2.99:8333":        hostile.Node(hostileAgent),
		"203.0.113.5:8333":       v1OnlyPeer,
		"electrum.example:50001": echoPeer,
		onion:                    v1Peer("/Satoshi:25.0.0/"),
	}))
	addr := proxy.statusAddr(t)
	tab := openStatus(t, addr)
	headline := func(want string) {
		t.Helper()
		tab.until(fmt.Sprintf(`document.getElementById("headline").textContent === %q`, want))
	}
	headline("No connections right now.")
	if s := eval[string](tab, `document.getElementById("detail").textContent`); !strings.Contains(s, "SOCKS5 proxy to "+proxy.addr) {
		t.Errorf("without connections the page says %q", s)
	}

	client := v1Client(t, proxy.addr, "192.0.2.17:8333", clientAgent)
	id := proxy.opened(t).SessionID
	headline("Yes. The one connection through this proxy is encrypted.")
	if title := eval[string](tab, "document.title"); title != "1 encrypted — bip324-proxy" {
		t.Errorf("unexpected title %q", title)
	}
	if got := eval[string](tab, row(0)+`.querySelector("code").textContent`); got != id || len(id) != 64 {
		t.Errorf("got session id %q on the page, want %q as in the log", got, id)
	}
	tab.until(row(0) + `.innerText.includes("/Satoshi:30.0.0/")`)
	for _, want := range []string{"192.0.2.17:8333", "mainnet", "v2, encrypted", client.LocalAddr().String(), clientAgent, "last verack"} {
		if s := eval[string](tab, row(0)+".innerText"); !strings.Contains(s, want) {
			t.Errorf("the row lacks %q: %q", want, s)
		}
	}

	tab.run("updates", func(t *testing.T) {
		eval[any](tab, `window.before = `+row(0)+`; before.querySelector("button").focus()`)
		client.Write(hostile.Pings(5))
		tab.until(row(0) + `.innerText.includes("7 messages") && ` + row(0) + `.innerText.includes("last pong")`)
		if !eval[bool](tab, `before === `+row(0)+` && document.activeElement === before.querySelector("button")`) {
			t.Error("the row was replaced, or lost the focus")
		}
	})
	tab.run("copies", func(t *testing.T) { testCopy(t, tab, addr, id) })
	tab.run("a refused peer", func(t *testing.T) {
		c, err := hostile.Connect(proxy.addr, "203.0.113.5:8333", patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(hostile.V1("version", hostile.Version(clientAgent)))
		tab.until(`document.querySelectorAll("#refusal-rows tr").length === 1`)
		s := eval[string](tab, `document.getElementById("refusal-rows").innerText`)
		for _, want := range []string{"203.0.113.5:8333", "No answer to the v2 handshake", "The peer hung up during the v2 handshake without an answer", "run with --v1-fallback always"} {
			if !strings.Contains(s, want) {
				t.Errorf("the reason of the refusal lacks %q: %q", want, s)
			}
		}
		find := func(what, found string) {
			eval[any](tab, fmt.Sprintf(`(f => { f.value = %q; f.dispatchEvent(new Event("input")); })(document.getElementById("filter"))`, what))
			tab.until(fmt.Sprintf(`document.getElementById("found").textContent.startsWith(%q)`, found))
		}
		find("203.0.113.5", "0 live, 1 failed")
		find("Satoshi:30 192.0", "1 live, 0 failed")
		find(id, "1 live, 0 failed")
		find("198.51.100.1", "No match")
		find("", "")
	})
	tab.run("markup is text", func(t *testing.T) {
		v1Client(whole, proxy.addr, "192.0.2.99:8333", hostileAgent)
		tab.until(row(0) + `?.innerText.includes("onerror")`)
		if n := eval[int](tab, `document.querySelectorAll("img, script:not([src])").length`); n != 0 {
			t.Errorf("got %d elements from a user agent, want 0", n)
		}
	})
	tab.run("other transports", func(t *testing.T) {
		headline("Yes. Both connections through this proxy are encrypted.")
		v1Client(whole, proxy.addr, onion, clientAgent)
		headline("Yes. 2 encrypted by BIP324, 1 v1 within Tor or CJDNS (encrypted).")
		other, err := hostile.Connect(proxy.addr, "electrum.example:50001", patience)
		if err != nil {
			t.Fatal(err)
		}
		whole.Cleanup(func() { other.Close() })
		io.WriteString(other, `{"method":"server.version"}`)
		headline("Partly. 2 encrypted by BIP324, 1 v1 within Tor or CJDNS (encrypted), 1 passed through unchanged.")
		if got := eval[string](tab, `document.getElementById("shares").textContent`); got != "Of 5 connections 20 % fell back to v1, and 20 % failed." {
			t.Errorf("unexpected shares %q", got)
		}
		if got := eval[string](tab, `document.getElementById("answer").dataset.state`); got != "partly" {
			t.Errorf("unexpected state %q", got)
		}
	})
	tab.run("looks", func(t *testing.T) { testLooks(t, tab) })
	for _, url := range tab.requested() {
		if !strings.HasPrefix(url, "http://"+addr+"/") && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			t.Errorf("the page requested %s", url)
		}
	}
	if all := tab.complaints(); len(all) > 0 {
		t.Errorf("unexpected console output %s", all)
	}

	proxy.kill()
	tab.until(`!document.getElementById("lost").hidden && document.getElementById("lost").textContent.startsWith("The proxy has been unreachable since") && document.title.startsWith("unreachable")`)
}

// testCopy copies the session id with mouse and keyboard, and without a clipboard.
func testCopy(t *testing.T, tab *tab, addr, id string) {
	session := tab.session
	tab.session = "" // addresses the browser
	tab.call("Browser.grantPermissions", map[string]any{"origin": "http://" + addr, "permissions": []string{"clipboardReadWrite", "clipboardSanitizedWrite"}}, nil)
	tab.session = session
	button := row(0) + `.querySelector("button")`
	for name, activate := range map[string]func(){
		"mouse":    func() { tab.click(button) },
		"keyboard": func() { eval[any](tab, button+".focus()"); tab.press("Enter") },
	} {
		eval[any](tab, `navigator.clipboard.writeText("nothing")`)
		tab.until(button + `.textContent === "Copy"`)
		activate()
		tab.until(button + `.textContent === "Copied" && document.getElementById("said").textContent === "Copied the session id."`)
		if got := eval[string](tab, "navigator.clipboard.readText()"); got != id {
			t.Errorf("with the %s: got clipboard %q, want %q", name, got, id)
		}
	}
	// A page over plain HTTP that is not from localhost may not use the clipboard.
	eval[any](tab, `Object.defineProperty(navigator, "clipboard", {value: undefined, configurable: true})`)
	tab.click(button)
	if got := eval[string](tab, "getSelection().toString()"); got != id {
		t.Errorf("without a clipboard: got selection %q, want the session id", got)
	}
	eval[any](tab, "delete navigator.clipboard")
}

// lowContrast finds texts with a contrast below WCAG's 4.5:1.
const lowContrast = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
	const rgba = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
	const luminance = c => c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const low = new Set();
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (!walk.currentNode.textContent.trim() || !e.checkVisibility() || e.closest("script, noscript")) continue;
		let ground = e, back = rgba(getComputedStyle(ground).backgroundColor);
		while (back[3] < 255 && ground.parentElement) back = rgba(getComputedStyle(ground = ground.parentElement).backgroundColor);
		const style = getComputedStyle(e), [a, b] = [luminance(rgba(e.ownerSVGElement ? style.fill : style.color)), luminance(back)];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) low.add(e.tagName + "." + e.className + " " + JSON.stringify(walk.currentNode.textContent.trim()) + " " + ratio.toFixed(2));
	}
	return [...low];
})()`

// testLooks checks layout, contrast and accessibility at all screen widths, in light and dark. SCREENSHOTS=DIR keeps
// screenshots.
func testLooks(t *testing.T, tab *tab) {
	for _, width := range []int{1280, 768, 390, 320} {
		for _, scheme := range []string{"light", "dark"} {
			tab.look(width, 900, scheme)
			if got := eval[int](tab, "document.documentElement.scrollWidth"); got > width {
				t.Errorf("on a screen %d wide the page is %d wide", width, got)
			}
			tab.until(`document.getAnimations().length === 0`) // colors change gradually
			for _, low := range eval[[]string](tab, lowContrast) {
				t.Errorf("%d, %s: too little contrast: %s", width, scheme, low)
			}
			if dir := os.Getenv("SCREENSHOTS"); dir != "" {
				if err := os.WriteFile(fmt.Sprintf("%s/%d-%s.png", dir, width, scheme), tab.screenshot(true), 0o600); err != nil {
					t.Error(err)
				}
			}
		}
		for _, node := range tab.named("button", "link", "searchbox", "textbox", "table", "image", "heading") {
			if strings.TrimSpace(node[1]) == "" {
				t.Errorf("on a screen %d wide a %s has no name", width, node[0])
			}
		}
		// A table remains a table for screen readers when it is not laid out as one.
		if cells := tab.named("cell"); len(cells) < 4*7 {
			t.Errorf("on a screen %d wide there are %d cells", width, len(cells))
		}
	}
	tab.open(eval[string](tab, "location.href"))
	tab.until(`!!` + row(3))
	var reached []string
	for range 20 {
		tab.press("Tab")
		if eval[bool](tab, `document.activeElement === document.body`) {
			break // behind the last
		}
		reached = append(reached, eval[string](tab, `document.activeElement.id || document.activeElement.getAttribute("aria-label") || document.activeElement.textContent`))
		if outline := eval[string](tab, `getComputedStyle(document.activeElement).outlineStyle`); outline != "solid" {
			t.Errorf("the focus on %s is not visible", reached[len(reached)-1])
		}
	}
	for _, want := range []string{"Skip to the sessions", "pause", "filter", "Copy the session id of 192.0.2.99:8333", "Copy the session id of 192.0.2.17:8333"} {
		if !strings.Contains(strings.Join(reached, "\n"), want) {
			t.Errorf("the keyboard does not reach %q: %q", want, reached)
		}
	}
}

// A browser needs the token once.
func TestStatusPageToken(t *testing.T) {
	t.Parallel()
	browserPath(t)
	const token = "a-token-of-many-characters"
	proxy := startProxy(t, "--status", "127.0.0.1:0", "--status-token", token)
	addr := proxy.statusAddr(t)
	tab := openTab(t)
	tab.open("http://" + addr + "/")
	tab.until(`document.body?.innerText.startsWith("unauthorized: token required; in a browser, add ?token=TOKEN")`)
	tab.open("http://" + addr + "/?token=" + token)
	for range 2 {
		tab.until(`document.getElementById("headline")?.textContent === "No connections right now."`)
		if url := eval[string](tab, "location.href"); url != "http://"+addr+"/" {
			t.Errorf("unexpected address %s", url)
		}
		tab.open("http://" + addr + "/")
	}
	if cookie := eval[string](tab, "document.cookie"); cookie != "" {
		t.Errorf("scripts can read the cookie %q", cookie)
	}
}

// Scripts of other pages read nothing, neither across origins nor by DNS rebinding.
func TestStatusPageFromElsewhere(t *testing.T) {
	t.Parallel()
	browserPath(t)
	proxy := startProxy(t, "--status", "127.0.0.1:0")
	addr := proxy.statusAddr(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>elsewhere</title>")
	}))
	defer web.Close()
	tab := openTab(t, "--host-resolver-rules=MAP rebound.example 127.0.0.1")
	tab.open(strings.Replace(web.URL, "127.0.0.1", "localhost", 1))
	tab.until(`document.title === "elsewhere"`)
	for _, path := range []string{"/", "/api/status", "/metrics", "/healthz", "/page.js", "/style.css", "/icon.svg", "/nothing"} {
		url := "http://" + addr + path
		for name, script := range map[string]string{
			"fetch": `fetch(%q).then(r => r.text(), () => "")`,
			"blind": `fetch(%q, {mode: "no-cors"}).then(r => r.text(), () => "")`,
			"post":  `fetch(%q, {method: "POST", body: "x"}).then(r => r.text(), () => "")`,
			"frame": `new Promise(done => { const f = document.createElement("iframe"); f.src = %q;
				f.onload = () => { try { done(f.contentDocument?.body?.innerText || "") } catch (e) { done("") } }; document.body.append(f); })`,
			"script": `new Promise(done => { const s = document.createElement("script"); s.src = %q; s.onload = () => done("loaded"); s.onerror = () => done(""); document.body.append(s); })`,
			"style":  `new Promise(done => { const s = document.createElement("link"); s.rel = "stylesheet"; s.href = %q; s.onload = () => done("loaded"); s.onerror = () => done(""); document.body.append(s); })`,
			"image":  `new Promise(done => { const i = new Image(); i.src = %q; i.onload = () => done("loaded"); i.onerror = () => done(""); })`,
		} {
			if got := eval[string](tab, fmt.Sprintf(script, url)); got != "" {
				t.Errorf("%s of %s: %q", name, path, got)
			}
		}
	}
	_, port, _ := strings.Cut(addr, ":")
	tab.open("http://rebound.example:" + port + "/")
	tab.until(`location.hostname === "rebound.example" && document.body?.innerText.startsWith("forbidden")`)
	for _, path := range []string{"/", "/api/status", "/metrics"} {
		if got := eval[int](tab, fmt.Sprintf(`fetch(%q).then(r => r.status)`, path)); got != http.StatusForbidden {
			t.Errorf("%s, by a name that leads here: %d", path, got)
		}
	}
}
