package socks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	defaultUpstreamTimeout = 2 * time.Minute // Tor's SocksTimeout
	defaultConnectTimeout  = 5 * time.Second
	maxField               = 255 // bytes of a name, a user name or a password
)

// Upstream is a SOCKS5 proxy, such as Tor, that connections are made through.
// What it is asked for is never resolved on this machine.
type Upstream struct {
	Network string // "tcp" or "unix"
	Address string // "host:port", or a socket's path

	// Credentials are what the proxy asks for. They take the place of a client's own,
	// which would be refused. Nil, or both empty, is none: the client's are passed on.
	Credentials *Credentials

	// Mark is offered where neither Credentials nor the client has any: to Tor it
	// keeps these streams apart from those of other programs. It is not a password, and a
	// proxy that takes none is used without it. Both empty is none.
	Mark Credentials

	// Control, if not nil, is called before the proxy's address is connected to, as
	// net.Dialer's is; its error ends the attempt.
	Control func(network, address string, c syscall.RawConn) error `json:"-"`

	// Reached, if not nil, is called after each attempt to reach the proxy, with an
	// *UpstreamError if it could not be connected to, or did not greet and
	// authenticate as a SOCKS5 proxy does. An attempt that was given up is none.
	Reached func(err error) `json:"-"`

	// Timeout bounds one Dial or Resolve, whatever its context allows. 0 is
	// 2 minutes.
	Timeout time.Duration

	// ConnectTimeout bounds connecting to the proxy itself, to all of its addresses
	// together, once they are known. 0 is 5 seconds, as in Bitcoin Core.
	ConnectTimeout time.Duration

	names *names // of Address, from ParseUpstream; nil looks a name up each time
}

var (
	errUpstreamURL  = errors.New("write the upstream proxy as socks5://host:port, socks5://user:password@host:port or socks5+unix:///path/of/socket, with %23 for # and so on (percent-encoding) in the user name, the password and the path")
	errUpstreamPort = errors.New("the upstream proxy needs a port from 1 to 65535, as in socks5://127.0.0.1:9050 (Tor's)")
	errUpstreamHost = errors.New("the upstream proxy needs a host, as in socks5://127.0.0.1:9050 or socks5://[::1]:9050")
	errUpstreamPath = errors.New("the upstream proxy needs a path from the root, as in socks5+unix:///run/tor/socks")
	errUpstreamUser = errors.New("the upstream proxy's user name and password may have 255 bytes each, not more")
)

// ParseUpstream reads socks5://[user:password@]host:port, with an IPv6 host in
// brackets, or socks5+unix://[user:password@]/path. Names that are asked for go
// to the proxy either way, so socks5h means the same as socks5. The error says
// what to write, and shows nothing of rawURL: its password might stand where
// none belongs.
func ParseUpstream(rawURL string) (*Upstream, error) {
	u, err := url.Parse(withZoneEscaped(rawURL))
	if err != nil || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errUpstreamURL
	}
	up := &Upstream{names: new(names)}
	switch u.Scheme {
	case "socks5", "socks5h":
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		switch host := u.Hostname(); {
		case u.Path != "" && u.Path != "/":
			return nil, errUpstreamURL
		case host == "", strings.Contains(host, ":") && u.Host[0] != '[':
			return nil, errUpstreamHost
		case err != nil || port == 0:
			return nil, errUpstreamPort
		case !validHost(host):
			return nil, errUpstreamURL
		default:
			if ip := literal(host); ip.IsValid() {
				host = ip.String()
			}
			up.Network, up.Address = "tcp", net.JoinHostPort(host, strconv.Itoa(int(port)))
		}
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
		if !c.none() {
			up.Credentials = &c
		}
	}
	return up, nil
}

// bareZone matches a zone as it is written everywhere else, where a URL has %25 (RFC 6874).
var bareZone = regexp.MustCompile(`^(socks5h?://(?:[^/\[@]*@)?\[[0-9A-Fa-f:.]+)%([^%\[\]/@]+\]:[0-9]*/?)$`)

func withZoneEscaped(rawURL string) string {
	if m := bareZone.FindStringSubmatch(rawURL); m != nil && !strings.HasPrefix(m[2], "25") {
		return m[1] + "%25" + m[2]
	}
	return rawURL
}

// validHost admits names and addresses.
func validHost(host string) bool {
	return literal(host).IsValid() || validName(host)
}

// String is the URL without the credentials.
func (u *Upstream) String() string {
	if u.Network == "unix" {
		return (&url.URL{Scheme: "socks5+unix", Path: u.Address}).String()
	}
	return "socks5://" + strings.Replace(u.Address, "%", "%25", 1) // of a zone
}

// Dial has the proxy connect to dest and returns the connection, from which nothing
// has been read beyond the proxy's reply, and which has no deadline. A name is sent as
// a name, an address as text or binary as dest has it. client is what the client sent:
// it goes to the proxy unchanged, so that streams which were told apart stay apart;
// but u.Credentials are used instead if there are any, and u.Mark if there are none at
// all. An error of the proxy, or on the way to it, is an *UpstreamError.
func (u *Upstream) Dial(ctx context.Context, dest Addr, client Credentials) (net.Conn, error) {
	conn, _, err := u.ask(ctx, CommandConnect, dest, client)
	return conn, err
}

// Resolve has the proxy look up the address of dest, which may be one already,
// with Tor's RESOLVE. Other proxies refuse that: CommandNotSupported. Otherwise
// it is like Dial.
func (u *Upstream) Resolve(ctx context.Context, dest Addr, client Credentials) (netip.Addr, error) {
	conn, ip, err := u.ask(ctx, CommandResolve, dest, client)
	if err == nil {
		conn.Close()
	}
	return ip, err
}

// unspecified is what Electrum asks a proxy for to see whether it is Tor, which answers
// without asking anybody. As binary, Tor's SafeSocks would refuse it.
var unspecified = Addr{Host: "0.0.0.0", IP: netip.IPv4Unspecified()}

// probeTimeout is for one question to a proxy on this machine, or on one nearby.
const probeTimeout = 5 * time.Second

// ProbeTor returns nil if the proxy answers what only Tor answers by itself, and the
// address at which it was reached. It takes 5 seconds at most. That Tor has a connection
// to its network it does not show, nor that the proxy is not one in front of Tor. The
// error is that of Resolve.
func (u *Upstream) ProbeTor(ctx context.Context) (at net.Addr, err error) {
	probe := *u
	probe.Timeout = probeTimeout
	conn, _, err := probe.ask(ctx, CommandResolve, unspecified, Credentials{})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.RemoteAddr(), nil
}

// Probe connects to the proxy, greets it as for a client without credentials, and
// asks for nothing. It takes 5 seconds at most. The error is an *UpstreamError.
func (u *Upstream) Probe(ctx context.Context) error {
	probe := *u
	probe.Timeout = probeTimeout
	conn, _, err := probe.ask(ctx, 0, unspecified, Credentials{})
	if err == nil {
		conn.Close()
	}
	return err
}

// ask is attempt, and tells u.Reached whether the proxy was reached.
func (u *Upstream) ask(ctx context.Context, command Command, dest Addr, client Credentials) (net.Conn, netip.Addr, error) {
	if err := dest.check(); err != nil {
		return nil, netip.Addr{}, err
	}
	conn, ip, err := u.attempt(ctx, command, dest, client)
	var failed *UpstreamError
	switch down := errors.As(err, &failed) && failed.Stage != StageRequest; {
	case u.Reached == nil || down && errors.Is(err, context.Canceled):
	case down && (client.none() || u.hasCredentials() || !failed.maybeOfCredentials()):
		u.Reached(failed)
	case !down:
		u.Reached(nil)
	}
	return conn, ip, err
}

// hasCredentials reports whether the proxy has credentials that go before the client's.
func (u *Upstream) hasCredentials() bool { return u.Credentials != nil && !u.Credentials.none() }

// maybeOfCredentials reports whether other credentials might not have failed.
func (e *UpstreamError) maybeOfCredentials() bool {
	return e.Stage == StageAuth || errors.Is(e, ErrTakesNoCredentials)
}

// attempt connects to the proxy and makes one request, or only greets it if command is
// 0. ctx ends all of it.
func (u *Upstream) attempt(ctx context.Context, command Command, dest Addr, client Credentials) (net.Conn, netip.Addr, error) {
	request := &upstreamRequest{upstream: u, command: command, dest: dest, credentials: client}
	switch {
	case u.hasCredentials():
		request.credentials = *u.Credentials
	case !client.none():
	case !u.Mark.none():
		request.credentials, request.optional = u.Mark, true
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(u.Timeout, defaultUpstreamTimeout))
	defer cancel()
	conn, err := u.connect(ctx)
	if err != nil {
		return nil, netip.Addr{}, request.failed(StageDial, err)
	}
	ip, err := request.send(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, netip.Addr{}, err
	}
	return conn, ip, nil
}

// ParseAddr reads "host:port", with an IPv6 host in brackets. Nothing is resolved. To
// an upstream proxy an address is sent as text.
func ParseAddr(dest string) (Addr, error) {
	host, portText, err := net.SplitHostPort(dest)
	if err != nil {
		return Addr{}, &AddrError{quoted(dest), "the destination", " is not host:port"}
	}
	addr, err := parseHost(host)
	if err != nil {
		return Addr{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return Addr{}, &AddrError{quoted(dest), "the destination", " has no port from 1 to 65535"}
	}
	addr.Port = uint16(port)
	return addr, nil
}

// parseHost reads a name or an address.
func parseHost(host string) (Addr, error) {
	if ip := literal(host).Unmap(); ip.IsValid() {
		return Addr{Host: ip.String(), IP: ip}, nil
	}
	addr := Addr{Host: host}
	if err := addr.check(); err != nil {
		return Addr{}, err
	}
	return addr, nil
}

// check returns an *AddrError if a proxy cannot be asked for the host: it is neither a
// name nor an address, or it has a zone.
func (a Addr) check() error {
	switch {
	case a.IP.Zone() != "":
		return &AddrError{a.Host, "", " is an address of a network that this machine is in, by its zone; no other proxy can connect to it"}
	case a.IP.IsValid():
		return nil
	case len(a.Host) > maxField:
		return &AddrError{quoted(a.Host), "the host name", fmt.Sprintf(" has %d bytes, which is more than the 255 that SOCKS5 can carry", len(a.Host))}
	case !validName(a.Host):
		return &AddrError{quoted(a.Host), "the host", " is neither a name nor an address"}
	}
	return nil
}
