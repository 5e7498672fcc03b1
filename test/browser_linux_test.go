package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// page makes every kind of request to the port that is filled in, and then reports the results.
const page = `<!doctype html><title>page</title><script>
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
	fetch("/said", {method: "POST", body: said.join("; ")});
})();
</script>`

// The requests of a page in a real browser arrive at the proxy's port, but get no answer, and the proxy connects to
// nothing.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browserPath(t)
	proxy := startProxy(t)
	says := make(chan string, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, page, port(t, proxy.addr))
		case "/said":
			b, _ := io.ReadAll(r.Body)
			says <- string(b)
		}
	}))
	defer web.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	cmd := browserCommand(t, ctx, web.URL)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cancel()
	var said string
	select {
	case said = <-says:
	case <-ctx.Done():
		t.Fatal("the page reported nothing")
	}
	t.Logf("the page says: %s", said)
	if strings.Contains(said, "an answer") {
		t.Error("the page got an answer")
	}
	proxy.await(t, "the browser's request", func(e event) bool { return strings.Contains(e.Reason, "the client speaks HTTP") })
	for _, line := range proxy.out.all() {
		if strings.Contains(line, "session opened") || strings.Contains(line, `"dest"`) {
			t.Errorf("unexpected proxy event: %s", line)
		}
	}
}
