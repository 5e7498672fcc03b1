package test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// page asks the port that is to be filled in for everything that a page can ask a port for, and then says what it has
// learnt.
const page = `<!doctype html><title>page</title><p id=said>nothing yet</p><script>
const port = "127.0.0.1:%s", socks = "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x20\x8d";
const asks = {
	get: () => fetch("http://" + port + "/", {mode: "no-cors"}),
	cors: () => fetch("http://" + port + "/"),
	post: () => fetch("http://" + port + "/", {mode: "no-cors", method: "POST", body: socks}),
	preflight: () => fetch("http://" + port + "/", {method: "PUT", headers: {"X-A": socks.length}}),
	tls: () => fetch("https://" + port + "/", {mode: "no-cors"}),
	websocket: () => new Promise((yes, no) => {
		const w = new WebSocket("ws://" + port + "/");
		w.onopen = yes;
		w.onerror = () => no(new Error("closed"));
	}),
};
(async () => {
	let said = [];
	for (const [name, ask] of Object.entries(asks)) {
		said.push(name + ": " + await ask().then(() => "an answer", e => "no answer"));
	}
	document.getElementById("said").textContent = said.join("; ") + "; done";
})();
</script>`

// A page in a real browser has its requests arrive at the proxy's port, and gets no answer to any, and nothing is
// connected to.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browser := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if browser == "" {
			browser, _ = exec.LookPath(name)
		}
	}
	if browser == "" {
		notRun(t, "chromium is not installed (Debian: apt-get install chromium), and CHROMIUM is not set")
	}
	proxy := startProxy(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, page, port(t, proxy.addr))
	}))
	defer web.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=60000", "--dump-dom", web.URL)
	dom, err := cmd.Output()
	said := regexp.MustCompile(`<p id="said">(.*)</p>`).FindStringSubmatch(string(dom))
	if err != nil || said == nil || !strings.HasSuffix(said[1], "done") {
		t.Fatalf("the browser: %v\n%s", err, dom)
	}
	t.Logf("the page says: %s", said[1])
	if strings.Contains(said[1], "an answer") {
		t.Error("the page has got an answer")
	}
	proxy.await(t, "the browser's request", func(e event) bool { return strings.Contains(e.Reason, "the client speaks HTTP") })
	for _, line := range proxy.out.all() {
		if strings.Contains(line, "session opened") || strings.Contains(line, `"dest"`) {
			t.Errorf("the proxy did this: %s", line)
		}
	}
}
