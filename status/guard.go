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

	// public is set for health checks, which say ok or not and nothing else: anyone may send
	// them, with any Host, and with OPTIONS as well as GET.
	public bool
}

// guard passes a request to its route if it comes from the page itself or from a program that is
// not a browser, and has the token, if one is required.
//
// Any web page can make its browser send requests here. Its Origin gives it away; or, if its name
// was made to resolve to this machine (DNS rebinding), the Host, which then is that name: an
// address cannot be rebound, and the user vouches for hosts. An authenticated request is not
// from such a page, whatever its Host, for browsers keep cookies by host.
type guard struct {
	routes        map[string]route
	addr          net.Addr
	token         string
	requireToken  bool
	hosts         []string // that a Host header may have, besides addresses
	cookieName    string
	sessionCookie string // replaces the token in the browser; new in each process
}

func newGuard(addr net.Addr, token string, hosts []string, routes map[string]route) *guard {
	g := &guard{routes: routes, addr: addr, token: token, hosts: hosts, cookieName: "bip324-proxy-status", sessionCookie: rand.Text()}
	g.requireToken = token != "" || !listen.IsLocal(addr)
	if tcp, ok := addr.(*net.TCPAddr); ok {
		g.cookieName += fmt.Sprintf("-%d", tcp.Port) // all ports of a host share its cookies
	}
	return g
}

// minToken is the least length of a token, which others on the network may try to guess.
const minToken = 16

// CheckToken returns an error if token is unusable.
func CheckToken(token string) error {
	if len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("the token must have at least %d characters, printable ASCII without spaces; openssl rand -hex 16 makes one", minToken)
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

	authenticated := g.token != "" && g.authenticated(r)
	to, known := g.routes[r.URL.Path]
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead && !(to.public && r.Method == http.MethodOptions):
		h.Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "method not allowed; use GET or HEAD")
	case g.crossOrigin(r):
		refuse(w, http.StatusForbidden, "forbidden: the request comes from another page")
	case to.public:
		to.ServeHTTP(w, r)
	case !authenticated && !g.isHost(r.Host):
		refuse(w, http.StatusForbidden, "forbidden: this host is not allowed; use an address of this machine, such as 127.0.0.1, or allow the name with --status-host NAME")
	case g.requireToken && !authenticated:
		h.Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "unauthorized: token required; in a browser, add ?token=TOKEN to the page's address once; elsewhere, send the header Authorization: Bearer TOKEN")
	case !known:
		refuse(w, http.StatusNotFound, "not found")
	case authenticated && r.URL.Path == "/" && r.URL.Query().Has("token"):
		// Without a path, the cookie is for the page's directory as the browser sees it, which
		// a reverse proxy may have put anywhere.
		http.SetCookie(w, &http.Cookie{Name: g.cookieName, Value: g.sessionCookie, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		h.Set("Location", "./") // takes the token out of the address bar
		w.WriteHeader(http.StatusSeeOther)
	default:
		to.ServeHTTP(w, r)
	}
}

// refuse sends a line of text and closes the connection, so that refused clients hold none.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Connection", "close")
	say(w, code, text)
}

// crossOrigin reports whether a browser sent the request for another page than ours. A link on
// another page may lead to ours.
func (g *guard) crossOrigin(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		// The Host may differ behind a reverse proxy, which may add TLS, too.
		u, err := url.Parse(origin)
		allowed := err == nil && (u.Scheme == "http" || u.Scheme == "https") && g.isAllowed(u.Hostname())
		if !allowed && !strings.EqualFold(origin, "http://"+r.Host) {
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

// isHost reports whether a Host header is allowed: one of hosts, localhost, or an address, which
// for a local listener must be loopback. The port may be that of a tunnel.
func (g *guard) isHost(host string) bool {
	if _, ok := g.addr.(*net.UnixAddr); ok {
		return true // browsers cannot connect
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port, err = net.SplitHostPort(host + ":80")
	}
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
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

// isAllowed reports whether name is one of hosts, ignoring case and a dot at its end.
func (g *guard) isAllowed(name string) bool {
	return slices.ContainsFunc(g.hosts, func(host string) bool { return strings.EqualFold(strings.TrimSuffix(name, "."), host) })
}

// ParseHost parses a host's name or address for Server.Hosts.
func ParseHost(text string) (string, error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil && ip.Zone() == "" {
		return ip.String(), nil
	}
	host := strings.TrimSuffix(text, ".")
	labels := strings.Split(host, ".")
	invalid := slices.ContainsFunc(labels, func(label string) bool { return !isLabel(label) })
	// Browsers take a name that ends in a number for an address.
	if invalid || len(host) > 253 || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", fmt.Errorf("%q is not a valid host; write a name, such as bip324-proxy or status.example, or an address, without port and without *", text)
	}
	return host, nil
}

// isLabel reports whether text is a valid label of a name. Container names may have underscores.
func isLabel(text string) bool {
	return text != "" && len(text) <= 63 && !strings.ContainsFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && !('0' <= r && r <= '9') && r != '-' && r != '_'
	})
}

// authenticated reports whether the request has the token, or the cookie set in exchange for it.
func (g *guard) authenticated(r *http.Request) bool {
	for _, value := range r.Header.Values("Authorization") {
		if scheme, token, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "Bearer") && same(strings.TrimSpace(token), g.token) {
			return true
		}
	}
	for _, c := range r.CookiesNamed(g.cookieName) {
		if same(c.Value, g.sessionCookie) {
			return true
		}
	}
	return r.URL.Path == "/" && same(r.URL.Query().Get("token"), g.token)
}

// same reports whether a equals b, in constant time whatever the length of b.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
