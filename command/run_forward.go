package command

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"bip324proxy/internal/dns"
	"bip324proxy/internal/transparent"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/settings"
	"bip324proxy/socks"
	"bip324proxy/transport/fallback"
)

// withProxy are the settings that have an effect with --proxy; all others are the proxy's there.
var withProxy = []string{"config", "connect-timeout", "max-sessions", "log-addresses", "log-level", "log-format", "grace"}

// parseProxy parses the value of --proxy.
func parseProxy(text string) (*socks.Upstream, error) {
	url := text
	if at, ok := strings.CutPrefix(text, "unix:"); ok && path.IsAbs(at) {
		url = "socks5+unix://" + at
	} else if !strings.Contains(text, "://") {
		url = "socks5://" + text
	}
	up, err := socks.ParseUpstream(url)
	if err != nil {
		return nil, errors.New("--proxy: the address is invalid; must be that of a bip324-proxy's --listen, such as 127.0.0.1:1324, unix:/PATH or socks5://USER:PASSWORD@127.0.0.1:1324")
	}
	return up, nil
}

// checkWithProxy returns an error if a setting was given that has no effect with --proxy.
func checkWithProxy(set *settings.Settings) error {
	for _, f := range settings.Flags() {
		if name := f.Names()[0]; set.IsGiven(name) && !slices.Contains(withProxy, name) {
			return set.Invalid(name, errors.New("has no effect with run --proxy: that proxy's own settings count; remove it, or --proxy"))
		}
	}
	return nil
}

// forwarder passes the connections of COMMAND on to a running proxy, and closes them if it
// cannot.
type forwarder struct {
	*guest
	up     *socks.Upstream
	shows  bool            // addresses in the log
	ctx    context.Context // of requests and connections
	cancel context.CancelFunc
	places chan struct{}
	down   condition // the proxy cannot be used
	full   condition
	taken  []net.Listener // from which connections come
	names  dns.Names      // of hosts without an address
	passed atomic.Uint64
	failed atomic.Uint64
}

// forwardGuest runs COMMAND with a running proxy.
func forwardGuest(s *service, set *settings.Settings, o runOptions) error {
	if err := checkWithProxy(set); err != nil {
		return err
	}
	s.current.Store(set)
	s.setLevel()
	s.log, s.queue = newLog(s.stderr, s.prefix, set.LogFormat, s.level)
	defer s.endLog()
	max := cmp.Or(set.MaxSessions, proxy.DefaultMaxSessions(s.reserved))
	f := &forwarder{up: o.proxy, shows: set.LogAddresses, places: make(chan struct{}, max)}
	f.up.ConnectTimeout = set.ConnectTimeout
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.guest = &guest{runOptions: o, log: s.log, lines: s.queue, serve: f.serve, lookup: f.resolve, end: func() { f.close(leaveTimeout) }}
	f.guest.summary = func() summary {
		s := summary{counts: []count{
			{f.passed.Load(), "passed_on", "passed on to " + o.proxy.Address},
			{f.failed.Load(), "refused", "refused"},
		}}
		if f.passed.Load() > 0 {
			s.more = "; bip324-proxy status shows what became of them there"
		}
		return s
	}
	return f.run()
}

// serve serves the connections that listeners accept.
func (f *forwarder) serve(listeners []net.Listener) {
	f.taken = listeners
	full := func(conn net.Conn) {
		f.failed.Add(1)
		reset(conn)
		f.full.warn(f.log, "too many connections at a time; the others are refused", "max_sessions", cap(f.places))
	}
	for _, l := range listeners {
		destination := transparent.Destination
		if r, ok := l.(proxy.Redirector); ok {
			destination = r.Destination
		}
		go acceptAtMost(f.places, full, l, func(conn net.Conn) { f.forward(conn, destination) })
	}
}

// forward connects conn to its destination by the proxy.
func (f *forwarder) forward(conn net.Conn, destination func(net.Conn) (netip.AddrPort, error)) {
	var to net.Conn
	var request socks.Addr
	dest, err := destination(conn)
	if err == nil && conn.LocalAddr().String() == dest.String() {
		err = errors.New("the connection was not redirected")
	}
	if err == nil {
		request, err = f.request(dest)
	}
	if err == nil {
		to, err = f.up.Dial(f.ctx, request, socks.Credentials{})
	}
	if err != nil {
		f.failed.Add(1)
		f.report("connection refused", err, "dest", dest.String())
		reset(conn)
		return
	}
	f.down.over()
	defer context.AfterFunc(f.ctx, func() {
		conn.Close()
		to.Close()
	})()
	f.passed.Add(1)
	relay(conn, to)
}

// report logs a request to the proxy that failed: once as a warning if that is down.
func (f *forwarder) report(msg string, err error, args ...any) {
	var failed *socks.UpstreamError
	switch {
	case f.ctx.Err() != nil:
	case errors.As(err, &failed) && failed.Stage != socks.StageRequest:
		f.down.warn(f.log, "the proxy of --proxy cannot be used; connections are refused until it can", "proxy", f.up.Address, "err", err)
	case f.shows:
		f.log.Info(msg, append(args, "reason", err)...)
	default:
		f.log.Info(msg)
	}
}

// request is where a connection to dest goes.
func (f *forwarder) request(dest netip.AddrPort) (socks.Addr, error) {
	ip := dest.Addr()
	if name, ok := f.names.Name(ip); ok {
		return socks.Addr{Host: name, Port: dest.Port()}, nil
	}
	if dns.Pool.Contains(ip) {
		return socks.Addr{}, errors.New("the address stood for a name in an earlier run")
	}
	return socks.Addr{Host: ip.String(), IP: ip, Port: dest.Port()}, nil
}

// resolve looks a name up by the proxy. One that the proxy cannot resolve but may connect to has
// an address of f.names.
func (f *forwarder) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if fallback.NeedsProxy(name) {
		return []netip.Addr{f.names.Addr(name)}, nil
	}
	ip, err := f.up.Resolve(ctx, socks.Addr{Host: name}, socks.Credentials{})
	var failed *socks.UpstreamError
	switch {
	case errors.As(err, &failed) && failed.Code == socks.CommandNotSupported:
		return []netip.Addr{f.names.Addr(name)}, nil
	case errors.As(err, &failed) && failed.Code == socks.NotAllowed:
		return nil, &rules.DeniedError{Dest: name}
	case err != nil:
		f.report("name not resolved", err, "name", name)
		return nil, err
	}
	f.down.over()
	return []netip.Addr{ip}, nil
}

// close takes no more connections, and cuts those that do not end within timeout: what COMMAND
// wrote last may still be on its way.
func (f *forwarder) close(timeout time.Duration) {
	for _, l := range f.taken {
		l.Close()
	}
	defer f.cancel()
	late := time.After(timeout)
	for range cap(f.places) {
		select {
		case f.places <- struct{}{}:
		case <-late:
			return
		}
	}
}
