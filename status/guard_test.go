package status

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bip324proxy/proxy"
)

const token = "0123456789abcdef0123456789abcdef"

var (
	loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1325}
	public   = &net.TCPAddr{IP: net.IPv4zero, Port: 1325}
	unix     = &net.UnixAddr{Name: "/run/status", Net: "unix"}
)

// idle returns the snapshot of a proxy without sessions.
func idle() proxy.Snapshot {
	s := new(proxy.Server).Snapshot()
	s.Listeners = []string{"127.0.0.1:1324"}
	return s
}

// paths are all the paths that exist.
var paths = []string{"/", "/style.css", "/page.js", "/words.js", "/rows.js", "/figures.js", "/dom.js", "/icon.js", "/table.js", "/icon.svg", "/api/status", "/metrics", "/healthz", "/readyz"}

// get returns the response to a request on a listener at addr. Headers have the form "Name: value".
func get(s *Server, addr net.Addr, method, target, host string, headers ...string) *http.Response {
	if s.Snapshot == nil {
		s.Snapshot = idle
	}
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.handler(addr, new(recent), newConns(nil)).ServeHTTP(w, r)
	return w.Result()
}

// Every path is guarded, and a refused request learns nothing about what is there.
func TestGuard(t *testing.T) {
	const here = "127.0.0.1:1325"
	for _, c := range []struct {
		name    string
		addr    net.Addr
		method  string
		host    string
		headers []string
		code    int
		health  int // for /healthz and /readyz, if different
	}{
		{"the address", loopback, "GET", here, nil, 200, 0},
		{"HEAD", loopback, "HEAD", here, nil, 200, 0},
		{"localhost", loopback, "GET", "localhost:1325", nil, 200, 0},
		{"LOCALHOST", loopback, "GET", "LOCALHOST:1325", nil, 200, 0},
		{"localhost without port", loopback, "GET", "localhost", nil, 200, 0},
		{"IPv6", loopback, "GET", "[::1]:1325", nil, 200, 0},
		{"IPv6 without port", loopback, "GET", "[::1]", nil, 200, 0},
		{"a tunnel's port", loopback, "GET", "127.0.0.1:8080", nil, 200, 0},

		{"a name", loopback, "GET", "evil.example:1325", nil, 403, 200},
		{"a name without port", loopback, "GET", "evil.example", nil, 403, 200},
		{"no host", loopback, "GET", "", nil, 403, 200},
		{"a name like localhost", loopback, "GET", "localhost.evil.example:1325", nil, 403, 200},
		{"a name like an address", loopback, "GET", "127.0.0.1.evil.example:1325", nil, 403, 200},
		{"this machine's name", loopback, "GET", "host.local:1325", nil, 403, 200},
		{"another address", loopback, "GET", "192.0.2.1:1325", nil, 403, 200},
		{"any address", loopback, "GET", "0.0.0.0:1325", nil, 403, 200},
		{"a user", loopback, "GET", "evil.example@127.0.0.1:1325", nil, 403, 200},
		{"no port", loopback, "GET", "127.0.0.1:http", nil, 403, 200},
		{"IPv4 in brackets", loopback, "GET", "[127.0.0.1]:1325", nil, 403, 200},
		{"localhost in brackets", loopback, "GET", "[localhost]:1325", nil, 403, 200},
		{"a zone", loopback, "GET", "[::1%25lo]:1325", nil, 403, 200},

		{"POST", loopback, "POST", here, nil, 405, 0},
		{"PUT", loopback, "PUT", here, nil, 405, 0},
		{"DELETE", loopback, "DELETE", here, nil, 405, 0},
		{"OPTIONS", loopback, "OPTIONS", here, nil, 405, 200},
		{"preflight", loopback, "OPTIONS", here, []string{"Origin: http://evil.example", "Access-Control-Request-Method: GET", "Access-Control-Request-Private-Network: true"}, 405, 403},
		{"CONNECT", loopback, "CONNECT", here, nil, 405, 0},
		{"TRACE", loopback, "TRACE", here, nil, 405, 0},

		{"the page's fetch", loopback, "GET", here, []string{"Origin: http://127.0.0.1:1325", "Sec-Fetch-Site: same-origin"}, 200, 0},
		{"another origin", loopback, "GET", here, []string{"Origin: http://evil.example"}, 403, 0},
		{"null", loopback, "GET", here, []string{"Origin: null"}, 403, 0},
		{"another port", loopback, "GET", here, []string{"Origin: http://127.0.0.1:8080"}, 403, 0},
		{"another scheme", loopback, "GET", here, []string{"Origin: https://127.0.0.1:1325"}, 403, 0},
		{"two origins", loopback, "GET", here, []string{"Origin: http://127.0.0.1:1325", "Origin: http://evil.example"}, 403, 0},
		{"rebound", loopback, "GET", "evil.example:1325", []string{"Origin: http://evil.example:1325", "Sec-Fetch-Site: same-origin"}, 403, 200},
		{"typed", loopback, "GET", here, []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200, 0},
		{"cross-site", loopback, "GET", here, []string{"Sec-Fetch-Site: cross-site"}, 403, 0},
		{"same-site", loopback, "GET", here, []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, 403, 0},
		{"a frame", loopback, "GET", here, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403, 0},

		{"socket", unix, "GET", "localhost", nil, 200, 0},
		{"socket, any name", unix, "GET", "status", nil, 200, 0},
		{"socket, another page", unix, "GET", "status", []string{"Origin: http://evil.example"}, 403, 0},
		{"socket, POST", unix, "POST", "status", nil, 405, 0},
	} {
		for _, path := range append(paths, "/nothing", "/page/index.html", "/api/status/", "/../page.js") {
			r := get(new(Server), c.addr, c.method, path, c.host, c.headers...)
			want := c.code
			switch health := path == "/healthz" || path == "/readyz"; {
			case health && c.health != 0:
				want = c.health
			case want == 200 && !slices.Contains(paths, path):
				want = 404
			}
			if closes := want == 401 || want == 403 || want == 404 || want == 405; closes != (r.Header.Get("Connection") == "close") {
				t.Errorf("%s: %s %s: code %d with Connection: %s", c.name, c.method, path, want, r.Header.Get("Connection"))
			}
			if r.StatusCode != want {
				t.Errorf("%s: %s %s: got %d, want %d", c.name, c.method, path, r.StatusCode, want)
			}
			checkHeaders(t, r)
			if want != 200 {
				checkTellsNothing(t, r)
			}
		}
	}
}

func checkHeaders(t *testing.T, r *http.Response) {
	t.Helper()
	for name := range r.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s: got %s", name, r.Header.Get(name))
		}
	}
	for name, want := range map[string]string{
		"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cache-Control":                "no-store",
		"Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func checkTellsNothing(t *testing.T, r *http.Response) {
	t.Helper()
	b := make([]byte, 1000)
	n, _ := r.Body.Read(b)
	if s := strings.ToLower(fmt.Sprint(string(b[:n]), r.Header)); strings.Contains(s, "bip324") || strings.Contains(s, "bitcoin") || n > 200 {
		t.Errorf("a refused request gets: %s", s)
	}
}

// Hosts from the settings are as good as addresses, in any case and with a trailing dot; other
// reasons to refuse a request still apply.
func TestHosts(t *testing.T) {
	hosts := []string{"bip324-proxy", "Status.example", "192.0.2.1", "2001:db8::1"}
	for _, c := range []struct {
		host    string
		headers []string
		code    int
	}{
		{"bip324-proxy", nil, 200},
		{"bip324-proxy:1325", nil, 200},
		{"BIP324-Proxy:1325", nil, 200},
		{"bip324-proxy.", nil, 200},
		{"bip324-proxy.:8080", nil, 200},
		{"status.example:1325", nil, 200},
		{"192.0.2.1:1325", nil, 200},
		{"[2001:db8::1]:1325", nil, 200},
		{"127.0.0.1:1325", nil, 200},
		{"bip324-proxy", []string{"Origin: http://bip324-proxy", "Sec-Fetch-Site: same-origin"}, 200},

		{"127.0.0.1:1325", []string{"Origin: https://status.example", "Sec-Fetch-Site: same-origin"}, 200}, // through a reverse proxy
		{"status.example", []string{"Origin: https://status.example:8443"}, 200},

		{"bip324-proxy", []string{"Origin: http://evil.example"}, 403},
		{"bip324-proxy", []string{"Origin: http://status.example.evil.example"}, 403},
		{"bip324-proxy", []string{"Origin: http://evil.example:80@x"}, 403},
		{"bip324-proxy", []string{"Origin: status.example"}, 403},
		{"bip324-proxy", []string{"Origin: ftp://status.example"}, 403},
		{"bip324-proxy", []string{"Origin: null"}, 403},
		{"127.0.0.1:1325", []string{"Origin: https://status.example", "Origin: http://evil.example"}, 403},
		{"127.0.0.1:1325", []string{"Origin: https://status.example", "Sec-Fetch-Site: cross-site"}, 403},
		{"bip324-proxy", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"evil.example", nil, 403},
		{"", nil, 403},
		{"bip324-proxy..", nil, 403},
		{"bip324-proxy:http", nil, 403},
		{"[bip324-proxy]:1325", nil, 403},
		{"2001:db8::1", nil, 403},
		{"bip324-proxy.evil.example", nil, 403},
		{"evil.bip324-proxy", nil, 403},
		{"evil.status.example", nil, 403},
		{"example", nil, 403},
		{"192.0.2.2:1325", nil, 403},
		{"bip324-proxy@evil.example", nil, 403},
		{"evil.example@bip324-proxy", nil, 403},
	} {
		for _, path := range paths {
			want := c.code
			if health := path == "/healthz" || path == "/readyz"; health && c.headers == nil {
				want = 200
			}
			if r := get(&Server{Hosts: hosts}, loopback, "GET", path, c.host, c.headers...); r.StatusCode != want {
				t.Errorf("%q %q %s: got %d, want %d", c.host, c.headers, path, r.StatusCode, want)
			}
			if health := path == "/healthz" || path == "/readyz"; !health && c.code == 200 {
				if r := get(&Server{Hosts: hosts, Token: token}, public, "GET", path, c.host, c.headers...); r.StatusCode != 401 {
					t.Errorf("%q %s without the token: got %d, want 401", c.host, path, r.StatusCode)
				}
				if r := get(&Server{Hosts: hosts}, public, "GET", path, c.host, c.headers...); r.StatusCode != 401 {
					t.Errorf("%q %s on a public listener: got %d, want 401", c.host, path, r.StatusCode)
				}
			}
		}
	}
}

func TestParseHost(t *testing.T) {
	for text, want := range map[string]string{
		"bip324-proxy": "bip324-proxy", "Status.Example.": "Status.Example", "my_proxy_1": "my_proxy_1", "localhost": "localhost",
		"192.0.2.1": "192.0.2.1", "2001:DB8:0::1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"3f2a1b0c9d8e": "3f2a1b0c9d8e", // a container's

		"": "", ".": "", "*": "", "*.example": "", "a*": "", "host:1325": "", "127.0.0.1:1325": "", "[::1]:1325": "", ":1325": "", "1325": "", "a..b": "", ".a": "", "a..": "",
		"http://host": "", "host/": "", "host name": "", "host\n": "", "bücher.example": "", "fe80::1%eth0": "", "127.1": "", "user@host": "",
		strings.Repeat("a", 64): "", strings.Repeat("a.", 127) + "a": "",
	} {
		got, err := ParseHost(text)
		if got != want || (err == nil) != (want != "") || err != nil && !strings.HasPrefix(err.Error(), strconv.Quote(text)) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

// A cross-site link may open the page, and nothing else.
func TestLinks(t *testing.T) {
	for _, path := range paths {
		r := get(new(Server), loopback, "GET", path, "127.0.0.1:1325", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
		if (r.StatusCode == 200) != (path == "/") || r.StatusCode != 200 && r.StatusCode != 403 {
			t.Errorf("%s: got %d", path, r.StatusCode)
		}
	}
}

// If a token is required, requests without it get only health checks, whatever other headers they
// have.
func TestToken(t *testing.T) {
	for _, c := range []struct {
		addr    net.Addr
		host    string
		headers []string
		code    int
	}{
		{loopback, "127.0.0.1:1325", nil, 401},
		{public, "192.0.2.1:1325", nil, 401},
		{unix, "status", nil, 401},
		{public, "status.example", nil, 403}, // except health checks
		{public, "192.0.2.1:1325", []string{"Authorization: Bearer " + token}, 200},
		{public, "192.0.2.1:1325", []string{"Authorization: bearer  " + token}, 200},
		{public, "status.example", []string{"Authorization: Bearer " + token}, 200}, // a page after DNS rebinding has no token
		{loopback, "127.0.0.1:1325", []string{"Authorization: Bearer " + token}, 200},
		{unix, "status", []string{"Authorization: Bearer " + token}, 200},
		{public, "192.0.2.1:1325", []string{"Authorization: Bearer " + token, "Origin: http://evil.example"}, 403},
		{public, "192.0.2.1:1325", []string{"Authorization: Bearer " + token[:31]}, 401},
		{public, "192.0.2.1:1325", []string{"Authorization: Bearer " + token + "0"}, 401},
		{public, "192.0.2.1:1325", []string{"Authorization: Bearer "}, 401},
		{public, "192.0.2.1:1325", []string{"Authorization: Bearer"}, 401},
		{public, "192.0.2.1:1325", []string{"Authorization: " + token}, 401},
		{public, "192.0.2.1:1325", []string{"Authorization: Basic " + token}, 401},
		{public, "192.0.2.1:1325", []string{"Cookie: bip324-proxy-status-1325=" + token}, 401},
		{public, "192.0.2.1:1325", []string{"Cookie: bip324-proxy-status-1325="}, 401},
	} {
		for _, path := range paths {
			want := c.code
			if health := path == "/healthz" || path == "/readyz"; health && (want == 401 || c.host == "status.example") {
				want = 200
			}
			r := get(&Server{Token: token}, c.addr, "GET", path, c.host, c.headers...)
			if r.StatusCode != want {
				t.Errorf("%v %s%s %q: got %d, want %d", c.addr, c.host, path, c.headers, r.StatusCode, want)
			}
			checkHeaders(t, r)
			if want == 401 && r.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("401 lacks WWW-Authenticate: Bearer")
			}
		}
	}
	// On a public address without a token, no request is authenticated.
	for _, headers := range [][]string{nil, {"Authorization: Bearer "}} {
		if r := get(new(Server), public, "GET", "/api/status", "192.0.2.1:1325", headers...); r.StatusCode != 401 {
			t.Errorf("a public listener without a token: got %d, want 401", r.StatusCode)
		}
	}
}

// A token in the page's address is replaced with a cookie that is not the token.
func TestTokenInAddress(t *testing.T) {
	s := &Server{Token: token, Snapshot: idle}
	h := s.handler(public, new(recent), newConns(nil))
	ask := func(target, host string, cookies ...*http.Cookie) *http.Response {
		r := httptest.NewRequest("GET", target, nil)
		r.Host = host
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	for _, wrong := range []string{"/?token=", "/?token=" + token[1:], "/?token=" + token + "0", "/?Token=" + token, "/?token=x&token=" + token, "/api/status?token=" + token, "/metrics?token=" + token} {
		if r := ask(wrong, "192.0.2.1:1325"); r.StatusCode != 401 || len(r.Cookies()) > 0 {
			t.Errorf("%s: got %d, %v", wrong, r.StatusCode, r.Cookies())
		}
	}
	r := ask("/?token="+token, "192.0.2.1:1325")
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "./" || len(r.Cookies()) != 1 {
		t.Fatalf("got %d, to %q, cookies %v", r.StatusCode, r.Header.Get("Location"), r.Cookies())
	}
	c := r.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "" || strings.Contains(c.Value, token) || c.Domain != "" || len(c.Value) < 26 {
		t.Errorf("got the cookie %+v", c)
	}
	for _, path := range paths {
		if r := ask(path, "192.0.2.1:1325", c); r.StatusCode != 200 {
			t.Errorf("%s with the cookie: got %d", path, r.StatusCode)
		}
	}
	if r := ask("/", "192.0.2.1:1325", &http.Cookie{Name: c.Name, Value: c.Value[1:]}); r.StatusCode != 401 {
		t.Errorf("with part of the cookie: got %d", r.StatusCode)
	}
	// The cookie is invalid in another process.
	h = s.handler(public, new(recent), newConns(nil))
	if r := ask("/", "192.0.2.1:1325", c); r.StatusCode != 401 {
		t.Errorf("with the cookie of another process: got %d", r.StatusCode)
	}
	// Without a token, no cookie is set.
	if r := get(new(Server), loopback, "GET", "/?token=x", "127.0.0.1:1325"); r.StatusCode != 200 || len(r.Cookies()) != 0 {
		t.Errorf("got %d, %v", r.StatusCode, r.Cookies())
	}
}

func TestCheckToken(t *testing.T) {
	for good, tokens := range map[bool][]string{
		true:  {token, "sixteen-letters!", strings.Repeat("a", 1000)},
		false: {"", "fifteen-letters", "with a space in it", "with\x00zero-and-more", "with a line\n", "with-an-ümlaut-in-it", strings.Repeat(" ", 16)},
	} {
		for _, token := range tokens {
			if err := CheckToken(token); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "openssl rand -hex 16") {
				t.Errorf("%q: got %v", token, err)
			}
		}
	}
}

// FuzzHost compares the guard with the host that a browser derives from the header: no name but
// localhost passes.
func FuzzHost(f *testing.F) {
	for _, host := range []string{"127.0.0.1:1325", "localhost", "[::1]:80", "evil.example", "127.0.0.1.evil.example", "[::1", "::1", "127.1", "0x7f000001", "[::ffff:127.0.0.1]:1", "[0.0.0.0]", "[localhost]:1"} {
		f.Add(host)
	}
	s := &Server{Snapshot: idle}
	handlers := map[bool]http.Handler{true: s.handler(loopback, new(recent), newConns(nil)), false: (&Server{Snapshot: idle, Token: token}).handler(public, new(recent), newConns(nil))}
	f.Fuzz(func(t *testing.T, host string) {
		for local, h := range handlers {
			r := httptest.NewRequest("GET", "/style.css", nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == 403 {
				continue
			}
			u, err := url.Parse("http://" + host + "/")
			if err != nil { // "::1"
				u = &url.URL{Host: "[" + host + "]"}
			}
			ip := net.ParseIP(u.Hostname())
			if !strings.EqualFold(u.Hostname(), "localhost") && (ip == nil || local && !ip.IsLoopback()) {
				t.Errorf("%q passes with code %d", host, w.Code)
			}
		}
	})
}
