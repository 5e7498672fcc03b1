package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
)

// askRaw sends a raw request and returns the status code and body.
func askRaw(t *testing.T, addr, request string) (code int, body string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, request)
	method, _, _ := strings.Cut(request, " ")
	r, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(b)
}

// Health checks are answered under any host name; everything else needs a name that the user allows.
func TestStatusByName(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "--status", "127.0.0.1:0", "--status-host", "bip324-proxy", "--status-host", "status.example,192.0.2.1")
	addr := p.statusAddr(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		for _, request := range []string{
			"GET %s HTTP/1.0\r\n\r\n",
			"HEAD %s HTTP/1.0\r\n\r\n",
			"OPTIONS %s HTTP/1.0\r\n\r\n",
			"GET %s HTTP/1.1\r\nHost: other.example:1325\r\n\r\n",
			"GET %s HTTP/1.1\r\nHost:\r\n\r\n",
			"HEAD %s HTTP/1.1\r\nHost: other.example\r\n\r\n",
			"OPTIONS %s HTTP/1.1\r\nHost: other.example\r\n\r\n",
			"GET %s?x=1 HTTP/1.1\r\nHost: other.example\r\nUser-Agent: kube-probe/1.31\r\nAccept: */*\r\nConnection: close\r\n\r\n",
		} {
			request := fmt.Sprintf(request, path)
			if code, body := askRaw(t, addr, request); code != 200 || body != "ok\n" && !strings.HasPrefix(request, "HEAD") {
				t.Errorf("%q: %d %q", request, code, body)
			}
		}
	}
	for _, path := range []string{"/", "/metrics", "/api/status", "/page.js"} {
		for host, want := range map[string]int{
			"bip324-proxy": 200, "bip324-proxy:1325": 200, "BIP324-PROXY.": 200, "Status.Example:80": 200, "192.0.2.1": 200, "localhost": 200, addr: 200,
			"other.example": 403, "bip324-proxy.other.example": 403, "": 403, "192.0.2.2": 403,
		} {
			if code, body := askRaw(t, addr, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); code != want {
				t.Errorf("%s of %q: %d %q", path, host, code, body)
			}
		}
	}
	for _, wrong := range []string{"*", "*.example", "bip324-proxy:1325", "", "http://bip324-proxy"} {
		code, _, stderr := run(t, "--listen", "127.0.0.1:0", "--status-host", wrong)
		if code != 2 {
			t.Errorf("%q: exit code %d", wrong, code)
		}
		requireOneLine(t, stderr, fmt.Sprintf("--status-host: %q is not a valid host", wrong))
	}
}

// behindPrefix returns a reverse proxy that serves the status page at /bip324/ and requests it by name or by address.
func behindPrefix(t *testing.T, addr string, keepHost bool) *httptest.Server {
	t.Helper()
	pages := http.NewServeMux() // also redirects /bip324
	pages.Handle("/bip324/", http.StripPrefix("/bip324", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: addr})
		if keepHost {
			r.Out.Host = r.In.Host
		}
	}}))
	pages.HandleFunc("/other/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "<!doctype html><title>other</title>%q", r.Header["Cookie"])
	})
	web := httptest.NewServer(pages)
	t.Cleanup(web.Close)
	return web
}

// The page works under a path of a reverse proxy, with a token or an allowed name; its cookie is limited to that path.
func TestStatusPageBehindPrefix(t *testing.T) {
	t.Parallel()
	browserPath(t)
	const token = "a-token-of-many-characters"
	for name, c := range map[string]struct {
		flags    []string
		keepHost bool
		query    string
	}{
		"token":            {[]string{"--status-token", token}, true, "?token=" + token},
		"name":             {[]string{"--status-host", "status.example"}, true, ""},
		"another Host":     {[]string{"--status-host", "status.example"}, false, ""},
		"token, the slash": {[]string{"--status-token", token, "--status-host", "Status.Example."}, false, "?token=" + token},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := startProxy(t, append([]string{"--status", "127.0.0.1:0"}, c.flags...)...)
			web := behindPrefix(t, proxy.statusAddr(t), c.keepHost)
			tab := openTab(t, "--host-resolver-rules=MAP status.example 127.0.0.1")
			_, port, _ := strings.Cut(strings.TrimPrefix(web.URL, "http://"), ":")
			home := "http://status.example:" + port + "/bip324/"
			tab.open(home + c.query)
			if strings.HasSuffix(name, "slash") {
				tab.open(strings.TrimSuffix(home, "/") + c.query)
			}
			tab.until(`document.getElementById("headline")?.textContent === "No connections right now."`)
			if url := eval[string](tab, "location.href"); url != home {
				t.Errorf("unexpected address %s", url)
			}
			if got := eval[string](tab, `getComputedStyle(document.querySelector(".tiles")).display`); got != "grid" && got != "flex" {
				t.Errorf("the page has no style: %s", got)
			}
			for _, link := range eval[[]string](tab, `[...document.querySelectorAll("a[href], link[href], script[src]")].map(e => e.href || e.src).filter(link => !link.startsWith("data:")).concat(new URL("icon.svg", document.baseURI).href)`) {
				if !strings.HasPrefix(link, home) {
					t.Errorf("unexpected link %s", link)
				}
				if code := eval[int](tab, fmt.Sprintf(`fetch(%q).then(r => r.status)`, link)); code != 200 {
					t.Errorf("%s: %d", link, code)
				}
			}
			tab.open("http://status.example:" + port + "/other/")
			tab.until(`document.title === "other"`)
			if got := eval[string](tab, "document.body.innerText"); got != "[]" {
				t.Errorf("another page gets the cookie %s", got)
			}
		})
	}
}
