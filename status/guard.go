package status

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"bip324proxy/internal/listen"
)

// route answers requests for one path that have passed the guard.
type route struct {
	http.HandlerFunc

	// health says ok or not, and nothing else: to anybody, whatever the Host, and to
	// OPTIONS as to GET, for that is what health checks of all kinds send.
	health bool
}

// guard lets a request through to its route if it comes from the page itself, or
// from a program that is no browser, and shows the token, if there is one.
//
// Any web page can have its browser send requests here. What gives it away is its
// Origin; or, where its name was made to lead to this machine (DNS rebinding), the
// Host, which then is that name: an address cannot be rebound, and the user vouches for
// hosts. Who shows the token is no such page, whatever the Host, for browsers keep cookies
// by host.
type guard struct {
	routes map[string]route
	addr   net.Addr
	token  string
	hosts  []string // that a Host header may name, besides addresses
	locked bool     // the token is needed
	cookie string   // its name
	ticket string   // its value, instead of the token: of this process alone
}

func newGuard(addr net.Addr, token string, hosts []string, routes map[string]route) *guard {
	g := &guard{routes: routes, addr: addr, token: token, hosts: hosts, cookie: "bip324-proxy-status", ticket: rand.Text()}
	g.locked = token != "" || !listen.IsLocal(addr)
	if tcp, ok := addr.(*net.TCPAddr); ok {
		g.cookie += fmt.Sprintf("-%d", tcp.Port) // cookies are not kept by port
	}
	return g
}

// minToken is how many characters a token has at least: it may be guessed at from
// the network.
const minToken = 16

// TokenError is a token that cannot be one.
type TokenError struct{}

func (TokenError) Error() string {
	return fmt.Sprintf("a token has at least %d characters, no space and none outside ASCII; openssl rand -hex 16 makes one", minToken)
}

// CheckToken returns a TokenError if token can be none.
func CheckToken(token string) error {
	if len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return TokenError{}
	}
	return nil
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
		"img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")

	shown := g.token != "" && g.shows(r)
	to, known := g.routes[r.URL.Path]
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead && !(to.health && r.Method == http.MethodOptions):
		h.Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "method not allowed: there is only GET and HEAD")
	case g.crossOrigin(r):
		refuse(w, http.StatusForbidden, "forbidden: the request comes from another page")
	case to.health:
		to.ServeHTTP(w, r)
	case !shown && !g.isHost(r.Host):
		refuse(w, http.StatusForbidden, "forbidden: ask for an address of this machine, such as 127.0.0.1, or allow this name with --status-host NAME")
	case g.locked && !shown:
		h.Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "unauthorized: a token is needed; in a browser, add ?token=TOKEN to the page's address, once, or send the header Authorization: Bearer TOKEN")
	case !known:
		refuse(w, http.StatusNotFound, "not found")
	case shown && r.URL.Path == "/" && r.URL.Query().Has("token"):
		// Without a path it is for the page's directory, as the browser sees it: behind a
		// reverse proxy that may be one of many.
		http.SetCookie(w, &http.Cookie{Name: g.cookie, Value: g.ticket, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		h.Set("Location", "./") // the token stays in no address bar
		w.WriteHeader(http.StatusSeeOther)
	default:
		to.ServeHTTP(w, r)
	}
}

// refuse answers with a line of text and closes the connection: who is refused is not
// to hold one.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Connection", "close")
	say(w, code, text)
}

// crossOrigin says whether a browser sends the request for another page than ours.
// To be led to our page by another's link is as good as typing its address.
func (g *guard) crossOrigin(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		if !strings.EqualFold(origin, "http://"+r.Host) && !g.isAllowedOrigin(origin) {
			return true
		}
	}
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if site != "none" && site != "same-origin" && !(link && r.URL.Path == "/") {
			return true
		}
	}
	return false
}

// isHost says whether a Host header names the listener by one of hosts, or by an address,
// which is this machine's as far as can be told. The port may be that of a tunnel.
func (g *guard) isHost(host string) bool {
	if _, ok := g.addr.(*net.UnixAddr); ok {
		return true // out of reach for browsers
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port, err = net.SplitHostPort(host + ":80")
	}
	if err != nil {
		return false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false
	}
	brackets := strings.HasPrefix(host, "[")
	if g.isAllowed(name) {
		return brackets == strings.Contains(name, ":")
	}
	if strings.EqualFold(name, "localhost") {
		return !brackets
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Is6() == brackets && ip.Zone() == "" && (ip.Unmap().IsLoopback() || !listen.IsLocal(g.addr))
}

// isAllowed reports whether name is one of hosts, in whatever case, with a dot at the end
// or without.
func (g *guard) isAllowed(name string) bool {
	return slices.ContainsFunc(g.hosts, func(host string) bool { return strings.EqualFold(strings.TrimSuffix(name, "."), host) })
}

// isAllowedOrigin reports whether origin is of one of hosts. A reverse proxy may add TLS to
// it, and ask for an address instead.
func (g *guard) isAllowedOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && g.isAllowed(u.Hostname())
}

// shows says whether the request has the token, or the cookie that was given for it.
func (g *guard) shows(r *http.Request) bool {
	for _, value := range r.Header.Values("Authorization") {
		if scheme, token, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "Bearer") && same(strings.TrimSpace(token), g.token) {
			return true
		}
	}
	for _, c := range r.CookiesNamed(g.cookie) {
		if same(c.Value, g.ticket) {
			return true
		}
	}
	return r.URL.Path == "/" && same(r.URL.Query().Get("token"), g.token)
}

// same compares in a time that tells nothing of b, not even its length.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
