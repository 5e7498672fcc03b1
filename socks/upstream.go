package socks

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"bip324proxy/internal/dial"
)

const (
	defaultUpstreamTimeout = 2 * time.Minute // Tor's SocksTimeout
	defaultConnectTimeout  = 5 * time.Second
	maxField               = 255 // bytes of a name, a user name or a password
)

// Upstream is a SOCKS5 proxy, such as Tor, to connect through. Names of destinations are
// never resolved locally.
type Upstream struct {
	Network string // "tcp" or "unix"
	Address string // "host:port", or the path of a socket

	// Credentials are sent to the proxy instead of the client's, which it would refuse. If
	// nil or empty, the client's are passed on.
	Credentials *Credentials

	// Mark is offered if neither Credentials nor the client has any: with Tor it isolates
	// these streams from those of other programs. It is not a password: a proxy that
	// supports no authentication is used without it. It may be empty.
	Mark Credentials

	// Isolate makes DialContext send new random credentials each time, unless Credentials
	// are set: Tor then uses another circuit for each connection. Bitcoin Core does that by
	// default, too. A proxy that supports no credentials is an error.
	Isolate bool

	// Control, if not nil, is net.Dialer's for connections to the proxy.
	Control func(network, address string, c syscall.RawConn) error `json:"-"`

	// Reached, if not nil, is called after each attempt to use the proxy, unless it was
	// canceled: with an *UpstreamError if connecting, the greeting or authentication
	// failed, otherwise with nil.
	Reached func(err error) `json:"-"`

	// Timeout bounds one Dial or Resolve in addition to its context. 0 is 2 minutes.
	Timeout time.Duration

	// ConnectTimeout bounds connecting to the proxy, to all of its addresses together,
	// once they are known. 0 is 5 seconds, as in Bitcoin Core.
	ConnectTimeout time.Duration

	cache *atomic.Pointer[addresses] // of Address, if it is a name; nil: none
}

var (
	errUpstreamURL  = errors.New("the URL of the upstream proxy is invalid; write socks5://host:port, socks5://user:password@host:port or socks5+unix:///path/of/socket, with percent-encoding (%23 for #) in the user name, the password and the path")
	errUpstreamPort = errors.New("the upstream proxy needs a port from 1 to 65535, as in socks5://127.0.0.1:9050 (Tor's)")
	errUpstreamHost = errors.New("the upstream proxy needs a host, as in socks5://127.0.0.1:9050 or socks5://[::1]:9050")
	errUpstreamPath = errors.New("the upstream proxy needs an absolute path, as in socks5+unix:///run/tor/socks")
	errUpstreamUser = errors.New("the upstream proxy's user name and password may have at most 255 bytes each")
)

// ParseUpstream parses socks5://[user:password@]host:port, with an IPv6 host in brackets,
// or socks5+unix://[user:password@]/path. socks5h means the same as socks5: the proxy
// resolves names either way. The error says what to write and contains nothing of rawURL:
// a misplaced password must not leak.
func ParseUpstream(rawURL string) (*Upstream, error) {
	u, err := url.Parse(withZoneEscaped(rawURL))
	if err != nil || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errUpstreamURL
	}
	up := &Upstream{cache: new(atomic.Pointer[addresses])}
	switch u.Scheme {
	case "socks5", "socks5h":
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		host := u.Hostname()
		addr, hostErr := parseHost(host)
		switch {
		case u.Path != "" && u.Path != "/":
			return nil, errUpstreamURL
		case host == "", strings.Contains(host, ":") && u.Host[0] != '[':
			return nil, errUpstreamHost
		case err != nil || port == 0:
			return nil, errUpstreamPort
		case hostErr != nil:
			return nil, errUpstreamURL
		}
		addr.Port = uint16(port)
		up.Network, up.Address = "tcp", addr.String()
	case "socks5+unix":
		if u.Host != "" || !path.IsAbs(u.Path) || u.Path == "/" || strings.Contains(u.Path, "\x00") {
			return nil, errUpstreamPath
		}
		up.Network, up.Address = "unix", u.Path
	default:
		return nil, errUpstreamURL
	}
	if u.User != nil {
		password, _ := u.User.Password()
		c := Credentials{u.User.Username(), password}
		if len(c.Username) > maxField || len(c.Password) > maxField {
			return nil, errUpstreamUser
		}
		if !c.isZero() {
			up.Credentials = &c
		}
	}
	return up, nil
}

// bareZone matches an IPv6 zone after "%", which must be "%25" in a URL (RFC 6874).
var bareZone = regexp.MustCompile(`^(socks5h?://(?:[^/\[@]*@)?\[[0-9A-Fa-f:.]+)%([^%\[\]/@]+\]:[0-9]*/?)$`)

func withZoneEscaped(rawURL string) string {
	if m := bareZone.FindStringSubmatch(rawURL); m != nil && !strings.HasPrefix(m[2], "25") {
		return m[1] + "%25" + m[2]
	}
	return rawURL
}

// String returns the URL without the credentials.
func (u *Upstream) String() string {
	if u.Network == "unix" {
		return (&url.URL{Scheme: "socks5+unix", Path: u.Address}).String()
	}
	return "socks5://" + strings.Replace(u.Address, "%", "%25", 1) // of a zone
}

// Dial connects to dest through the proxy and returns the connection, which has no
// deadline and from which nothing has been read beyond the proxy's reply. A name is sent as
// a name, an address as text or binary as dest says. The client's credentials go to the
// proxy unchanged, to keep its streams isolated, unless there are u.Credentials; if there
// are neither, u.Mark is offered. An error of the proxy, or of the connection to it, is an
// *UpstreamError.
func (u *Upstream) Dial(ctx context.Context, dest Addr, client Credentials) (net.Conn, error) {
	conn, _, err := u.ask(ctx, CommandConnect, dest, client)
	return conn, err
}

// DialContext connects to addr, "host:port", through the proxy, like Dial for a client
// without credentials, or with random ones if u.Isolate is set. It is for programs that
// take a net.Dialer's DialContext, and for the Dial of a fallback.Dialer. With tcp4 and
// tcp6 it refuses names, because it is unknown which family the proxy connects to.
func (u *Upstream) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	dest, err := ParseAddr(addr)
	switch network {
	case "tcp":
	case "tcp4", "tcp6":
		if err == nil && (!dest.IP.IsValid() || dest.IP.Is4() != (network == "tcp4")) {
			err = &net.AddrError{Err: "through a proxy, only an address of that family can be connected to", Addr: dest.Host}
		}
	default:
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var client Credentials
	if u.Isolate {
		client = Credentials{rand.Text(), rand.Text()}
	}
	return u.Dial(ctx, dest, client)
}

// Resolve resolves dest, which may be an address, through the proxy with Tor's RESOLVE.
// Other proxies refuse that with CommandNotSupported. Otherwise it is like Dial.
func (u *Upstream) Resolve(ctx context.Context, dest Addr, client Credentials) (netip.Addr, error) {
	conn, ip, err := u.ask(ctx, CommandResolve, dest, client)
	if err == nil {
		conn.Close()
	}
	return ip, err
}

// unspecified is what Electrum resolves to detect Tor, which answers it by itself. Tor's
// SafeSocks would refuse it in binary.
var unspecified = Addr{Host: "0.0.0.0", IP: netip.IPv4Unspecified()}

// probeTimeout bounds a probe of a proxy, which is on this machine or nearby.
const probeTimeout = 5 * time.Second

// ProbeTor returns the address of the proxy, and a nil error if it answers a request that
// only Tor answers by itself. It takes at most 5 seconds. A nil error proves neither that
// Tor is connected to its network nor that no other proxy is in front of Tor. The error is
// that of Resolve.
func (u *Upstream) ProbeTor(ctx context.Context) (at net.Addr, err error) {
	return u.probe(ctx, CommandResolve)
}

// Probe connects to the proxy and performs the greeting and authentication of a client
// without credentials, but makes no request. It takes at most 5 seconds. The error is an
// *UpstreamError.
func (u *Upstream) Probe(ctx context.Context) error {
	_, err := u.probe(ctx, 0)
	return err
}

func (u *Upstream) probe(ctx context.Context, command Command) (at net.Addr, err error) {
	probe := *u
	probe.Timeout = probeTimeout
	conn, _, err := probe.ask(ctx, command, unspecified, Credentials{})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.RemoteAddr(), nil
}

// ask calls attempt and reports to u.Reached.
func (u *Upstream) ask(ctx context.Context, command Command, dest Addr, client Credentials) (net.Conn, netip.Addr, error) {
	if err := dest.check(); err != nil {
		return nil, netip.Addr{}, err
	}
	conn, ip, err := u.attempt(ctx, command, dest, client)
	var failed *UpstreamError
	switch down := errors.As(err, &failed) && failed.Stage != StageRequest; {
	case u.Reached == nil || down && errors.Is(err, context.Canceled):
	case down && (client.isZero() || u.hasCredentials() || failed.Stage != StageAuth && !errors.Is(failed, ErrCredentialsUnsupported)): // not for its own credentials
		u.Reached(failed)
	case !down:
		u.Reached(nil)
	}
	return conn, ip, err
}

// hasCredentials reports whether u.Credentials replace the client's.
func (u *Upstream) hasCredentials() bool { return u.Credentials != nil && !u.Credentials.isZero() }

// attempt connects to the proxy and makes one request, or none if command is 0.
func (u *Upstream) attempt(ctx context.Context, command Command, dest Addr, client Credentials) (net.Conn, netip.Addr, error) {
	request := &upstreamRequest{upstream: u, command: command, dest: dest, credentials: client, stage: StageDial}
	switch {
	case u.hasCredentials():
		request.credentials = *u.Credentials
	case !client.isZero():
	case !u.Mark.isZero():
		request.credentials, request.optional = u.Mark, true
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(u.Timeout, defaultUpstreamTimeout))
	defer cancel()
	conn, err := u.connect(ctx)
	if err != nil {
		return nil, netip.Addr{}, request.failed(err)
	}
	ip, err := request.send(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, netip.Addr{}, err
	}
	return conn, ip, nil
}

// keepAddresses is how long the addresses of an upstream proxy's name are cached: there are
// many sessions, and the resolver may be slow.
const keepAddresses = time.Minute

// addresses are those of an upstream proxy's name.
type addresses struct {
	ips   []netip.Addr
	until time.Time
}

// connect connects to the proxy, with TCP keepalive, unlike connections to peers: SOCKS5 is
// in plaintext anyway, and a proxy on another machine may vanish.
func (u *Upstream) connect(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{Control: u.Control, Timeout: cmp.Or(u.ConnectTimeout, defaultConnectTimeout)}
	host, port, err := net.SplitHostPort(u.Address)
	if _, notIP := netip.ParseAddr(host); u.Network != "tcp" || err != nil || notIP == nil {
		return d.DialContext(ctx, u.Network, u.Address)
	}
	first := func(ips []netip.Addr) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		return dial.First(ctx, ips, func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
		})
	}
	cache := cmp.Or(u.cache, new(atomic.Pointer[addresses]))
	if a := cache.Load(); a != nil && time.Now().Before(a.until) {
		conn, err := first(a.ips)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		cache.Store(nil) // it may have moved
	}
	ips, err := dial.Search(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	conn, err := first(ips)
	if err == nil {
		cache.Store(&addresses{ips, time.Now().Add(keepAddresses)})
	}
	return conn, err
}
