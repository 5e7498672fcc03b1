package check

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

func newUpstream(addr string) *socks.Upstream {
	return &socks.Upstream{Network: "tcp", Address: addr}
}

// The report tells apart, by their answers, the programs that may listen on the proxy's address.
func TestListener(t *testing.T) {
	auth := socks.Credentials{Username: "user", Password: "secret"}
	wrong := socks.Credentials{Username: "user", Password: "wrong"}
	tor := newFakeTor(t)
	rule, err := rules.ParseRule("*")
	if err != nil {
		t.Fatal(err)
	}
	const ours = "ok listener ADDR: a SOCKS5 proxy answers, as bip324-proxy does"
	for name, test := range map[string]struct {
		addr   string
		policy proxy.Policy
		want   string
	}{
		"ours":                {startProxy(t, new(proxy.Server)), proxy.Policy{}, ours},
		"ours, with password": {startProxy(t, &proxy.Server{Policy: proxy.Policy{Socks: socks.Config{Auth: &auth}}}), proxy.Policy{Socks: socks.Config{Auth: &auth}}, ours},
		"ours, with another password": {startProxy(t, &proxy.Server{Policy: proxy.Policy{Socks: socks.Config{Auth: &auth}}}), proxy.Policy{Socks: socks.Config{Auth: &wrong}},
			"failed listener ADDR: a SOCKS5 proxy answers, but rejects the user name and password in these settings -> run check with the proxy's own settings"},
		"ours, with a password not known": {startProxy(t, &proxy.Server{Policy: proxy.Policy{Socks: socks.Config{Auth: &auth}}}), proxy.Policy{},
			"failed listener ADDR: a SOCKS5 proxy answers, but requires a user name and password, which these settings lack -> run check with the proxy's own settings, including --auth"},
		"ours, behind Tor": {startProxy(t, &proxy.Server{Policy: proxy.Policy{Upstream: tor.upstream()}}), proxy.Policy{Upstream: tor.upstream()}, ours},
		"ours, behind a Tor not known": {startProxy(t, &proxy.Server{Policy: proxy.Policy{Upstream: tor.upstream()}}), proxy.Policy{},
			"failed listener ADDR: this is Tor, or a proxy in front of it, not bip324-proxy without --upstream -> choose another address with --listen; if it is bip324-proxy with --upstream, run check with its settings"},
		"ours, denying": {startProxy(t, &proxy.Server{Policy: proxy.Policy{Rules: rules.Rules{Deny: []rules.Rule{rule}}}}), proxy.Policy{},
			"ok listener ADDR: a SOCKS5 proxy answers; it refuses this test's destination, 192.0.2.1, which its rules deny"},
		"ours, full": {fullProxy(t), proxy.Policy{},
			"warning listener ADDR: a SOCKS5 proxy answers with a general failure, as bip324-proxy does at its session limit -> see its log; run it with a higher --max-sessions"},
		"Tor": {tor.addr, proxy.Policy{},
			"failed listener ADDR: this is Tor, or a proxy in front of it, not bip324-proxy without --upstream -> choose another address with --listen; if it is bip324-proxy with --upstream, run check with its settings"},
		"another": {plainSOCKS5(t), proxy.Policy{},
			"failed listener ADDR: this is another SOCKS5 proxy, not bip324-proxy -> stop that program, or choose another address with --listen"},
		"HTTP": {testkit.Serve(t, says("HTTP/1.1 400 Bad Request\r\n\r\n")), proxy.Policy{},
			"failed listener ADDR: another program is listening there: it does not speak SOCKS5: its first byte is 0x48, not 0x05 -> stop that program, or choose another address with --listen"},
		"closing": {testkit.Serve(t, closing), proxy.Policy{},
			"failed listener ADDR: something is listening there, but it does not answer like a SOCKS5 proxy: the connection was closed prematurely -> if it is bip324-proxy, see its log; if it is another program, choose another address with --listen"},
		"nobody": {testkit.Nobody(t), proxy.Policy{},
			"failed listener ADDR: nothing is listening there: connection refused -> the proxy is not running, or has other settings; start it with: bip324-proxy"},
		"no port": {"127.0.0.1:0", proxy.Policy{}, "skipped listener ADDR: the system chooses the port when the proxy starts"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Subject{Policy: test.policy}
			r := Report{Checks: []Result{s.listener(within(t), Listener{Address: test.addr}, false)}}
			if got := text(t, &r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// fullProxy starts a proxy that has reached its session limit.
func fullProxy(t *testing.T) (addr string) {
	addr = startProxy(t, &proxy.Server{MaxSessions: 1})
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.Write([]byte{5, 1, 0})
	if _, err := io.ReadFull(nc, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	return addr
}

// Checking a running proxy logs and counts nothing: no refusal, no session.
func TestListenerIsNotBothered(t *testing.T) {
	var log bytes.Buffer
	server := &proxy.Server{Log: slog.New(slog.NewTextHandler(&log, nil))}
	addr := startProxy(t, server)
	s := new(Subject)
	if r := s.listener(within(t), Listener{Address: addr}, false); r.State != OK {
		t.Errorf("got %+v", r)
	}
	server.Shutdown(t.Context())
	now := server.Snapshot()
	if log.Len() > 0 || len(now.Refusals) > 0 || len(now.Closed) > 0 {
		t.Errorf("logged %q, refusals %v, sessions %v; want none", &log, now.Refusals, now.Closed)
	}
}

func TestUnixSockets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not run: sockets have no modes here")
	}
	path := filepath.Join(t.TempDir(), "socket")
	l, err := listen.Open("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	server := &proxy.Server{Log: slog.New(slog.DiscardHandler)}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	s := new(Subject)
	if r := s.listener(within(t), Listener{Address: "unix:" + path}, false); r.State != OK {
		t.Errorf("got %+v", r)
	}
	if os.Getuid() != 0 { // root may connect anyway
		os.Chmod(path, 0)
		if r := s.listener(within(t), Listener{Address: "unix:" + path}, false); r.State != Failed || !strings.Contains(r.What, "this user may not connect") {
			t.Errorf("got %+v", r)
		}
		s.Policy.Upstream = &socks.Upstream{Network: "unix", Address: path}
		if r, _ := s.upstream(within(t), s.Policy.UpstreamRoutes()[0]); r.State != Failed || !strings.Contains(r.What, "this user may not connect") {
			t.Errorf("got %+v", r)
		}
	}
	server.Close()
	<-served
	s.Policy.Upstream = nil
	if r := s.listener(within(t), Listener{Address: "unix:" + path}, false); r.State != Failed || !strings.Contains(r.What, "nothing is listening there: no such socket") {
		t.Errorf("got %+v", r)
	}
}

// For a listener with a static peer, check only tests whether anything is listening.
func TestPeerListener(t *testing.T) {
	for addr, want := range map[string]string{
		testkit.Serve(t, closing): "ok listener ADDR: something is listening there; it should connect clients to node.example:8333 -> to test that: bip324-proxy check node.example:8333",
		testkit.Nobody(t):         "failed listener ADDR: nothing is listening there: connection refused -> the proxy is not running, or has other settings; start it with: bip324-proxy",
	} {
		r := Report{Checks: []Result{new(Subject).listener(within(t), Listener{Address: addr, Peer: "node.example:8333"}, false)}}
		if got := text(t, &r); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// If the fallback mode allows v1, the report says what that means for onion services behind a proxy
// other than Tor.
func TestUpstreamAndV1(t *testing.T) {
	for mode, want := range map[fallback.Mode]string{
		fallback.Never:   "it sees whom you connect to",
		fallback.Overlay: "it sees whom you connect to; with --v1-fallback overlay, .onion peers without v2 are unreachable through it",
		fallback.Always:  "it sees whom you connect to; with --v1-fallback always, traffic with .onion peers without v2 is plaintext on the way to it",
	} {
		for upstream, isTor := range map[string]bool{plainSOCKS5(t): false, newFakeTor(t).addr: true} {
			s := &Subject{Policy: proxy.Policy{Upstream: newUpstream(upstream), Dialer: fallback.Dialer{Mode: mode}}}
			result, got := s.upstream(within(t), s.Policy.UpstreamRoutes()[0])
			if got != isTor || !isTor && !strings.HasSuffix(result.Hint, want) || isTor && result.State != OK {
				t.Errorf("%v: %+v, Tor %v", mode, result, got)
			}
		}
	}
}

// The report about names depends on the kind of upstream proxy.
func TestUpstream(t *testing.T) {
	const leaks = "warning names this machine's resolver looks up the names that clients ask for, so your DNS server sees them -> clients that connect to addresses, as nodes do for most peers, are not affected; to avoid it, run with --upstream socks5://ADDR (Tor)"
	const byProxy = " ok names no leak here: names go to the upstream proxy; this machine looks up none -> that proxy decides who resolves them"
	const notTor = " -> everything goes through it anyway; it probably cannot reach .onion peers, and it sees whom you connect to"
	give := " -> set --upstream to a SOCKS5 proxy, such as Tor: socks5://ADDR"
	auth := socks.Credentials{Username: "user", Password: "secret"}
	authed := startProxy(t, &proxy.Server{Policy: proxy.Policy{Socks: socks.Config{Auth: &auth}}})
	withAuth := newUpstream(authed)
	withAuth.Credentials = &socks.Credentials{Username: "user", Password: "wrong"}
	plainAuth := newUpstream(plainSOCKS5(t))
	plainAuth.Credentials = &auth
	tor := newFakeTor(t)
	_, port, _ := net.SplitHostPort(tor.addr)
	for name, test := range map[string]struct {
		upstream *socks.Upstream
		want     string
	}{
		"none": {nil, "skipped upstream none: the proxy connects to peers directly, and they see this machine's address " + leaks},
		"Tor": {tor.upstream(), "ok upstream ADDR: this is Tor: it answers as only Tor does -> only a peer can show whether it is connected to its network: bip324-proxy check HOST:PORT " +
			"ok names no leak: names go to Tor, which resolves them at its exits; this machine looks up none"},
		"by name": {newUpstream("localhost:" + port), "ok upstream localhost:" + port + ": this is Tor: it answers as only Tor does -> only a peer can show whether it is connected to its network: bip324-proxy check HOST:PORT " +
			"warning names this machine's resolver looks up the upstream proxy's own name, localhost:" + port + "; the names that clients ask for go to that proxy -> use its address in --upstream"},
		"plain":    {newUpstream(plainSOCKS5(t)), "warning upstream ADDR: this is a SOCKS5 proxy, but not Tor (its answer to Tor's RESOLVE: command not supported)" + notTor + byProxy},
		"of ours":  {newUpstream(startProxy(t, new(proxy.Server))), "warning upstream ADDR: this is a SOCKS5 proxy, but not Tor (its answer to Tor's RESOLVE: host unreachable)" + notTor + byProxy},
		"HTTP":     {newUpstream(testkit.Serve(t, says("HTTP/1.1 400 Bad Request\r\n\r\n"))), "failed upstream ADDR: this is not a SOCKS5 proxy: it does not speak SOCKS5: its first byte is 0x48, not 0x05" + give + byProxy},
		"closing":  {newUpstream(testkit.Serve(t, closing)), "failed upstream ADDR: something is listening there, but it does not answer like a SOCKS5 proxy: the connection was closed prematurely" + give + byProxy},
		"laconic":  {newUpstream(testkit.Serve(t, laconic)), "warning upstream ADDR: this is a SOCKS5 proxy, but not Tor (it does not answer Tor's RESOLVE: unexpected EOF)" + notTor + byProxy},
		"nobody":   {newUpstream(testkit.Nobody(t)), "failed upstream ADDR: nothing is listening there: connection refused -> start that proxy, or correct --upstream; until then all connections through it fail" + byProxy},
		"password": {newUpstream(authed), "failed upstream ADDR: this is a SOCKS5 proxy, but it requires a user name and password: write them into its URL, as in socks5://user:password@host:port" + byProxy},
		"wrong":    {withAuth, "failed upstream ADDR: this is a SOCKS5 proxy, but it refused the user name and password" + byProxy},
		"too much": {plainAuth, "failed upstream ADDR: this is a SOCKS5 proxy, but it does not support a user name and password -> omit them from --upstream" + byProxy},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Subject{Policy: proxy.Policy{Upstream: test.upstream}}
			results, isTor := s.upstreams(within(t))
			r := Report{Checks: append(results, s.names(test.upstream, isTor))}
			if got := text(t, &r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	for addr, want := range map[string]string{"h:9050": "systemctl start tor", "h:9150": "start the Tor Browser, and", "h:1080": "start that proxy"} {
		s := &Subject{Policy: proxy.Policy{Upstream: newUpstream(addr)}}
		gone := &socks.UpstreamError{Upstream: addr, Stage: socks.StageDial, Err: io.EOF}
		if _, _, got := s.describeUpstream(s.Policy.UpstreamRoutes()[0], nil, gone); !strings.Contains(got, want) {
			t.Errorf("%s: %s", addr, got)
		}
	}
	for control, want := range map[string]string{"h:9051": "127.0.0.1:9050", "h:9151": "127.0.0.1:9150"} {
		if got := notSocksHint(control); !strings.Contains(got, "Tor's control port") || !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s", control, got)
		}
	}
}

// answers returns a handler that writes text after its first read.
func answers(text string) func(net.Conn) {
	return func(nc net.Conn) {
		nc.Read(make([]byte, 1000))
		says(text)(nc)
	}
}

// laconic is a SOCKS5 proxy that hangs up on unknown commands.
func laconic(nc net.Conn) {
	io.ReadFull(nc, make([]byte, 3))
	nc.Write([]byte{5, 0})
	io.ReadFull(nc, make([]byte, 14)) // the request for the name 0.0.0.0
}

func TestNetwork(t *testing.T) {
	const noPacket = " -> no packet was sent; to test a real connection: bip324-proxy check HOST:PORT"
	for _, test := range []struct {
		v4, v6 string
		want   string
	}{
		{"192.168.1.2", "2001:db8::2", "ok network routes to the internet: IPv4 from 192.168.1.2, IPv6 from 2001:db8::2" + noPacket},
		{"192.168.1.2", "", "ok network route to the internet: IPv4 from 192.168.1.2 only" + noPacket},
		{"", "2001:db8::2", "ok network route to the internet: IPv6 from 2001:db8::2 only" + noPacket},
		{"", "", "warning network this machine has no route to the internet, by IPv4 or IPv6 -> connect it to a network, unless all peers are on a local one; to test one of those: bip324-proxy check HOST:PORT"},
	} {
		s := &Subject{Route: func(network, _ string) (string, error) {
			from := map[string]string{"udp4": test.v4, "udp6": test.v6}[network]
			if from == "" {
				return "", errors.New("network is unreachable")
			}
			return from, nil
		}}
		r := Report{Checks: []Result{s.network()}}
		if got := text(t, &r); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
		s.Policy.Upstream = newUpstream("127.0.0.1:9050")
		if r := s.network(); r.State != Skipped {
			t.Errorf("with an upstream proxy: got %+v", r)
		}
	}
	if from, err := systemRoute("udp4", "127.0.0.1:8333"); from != "127.0.0.1" || err != nil {
		t.Errorf("the route to 127.0.0.1 is from %s, %v", from, err)
	}
}

func TestSessions(t *testing.T) {
	enough := proxy.SessionsForDescriptors(50)
	for n, want := range map[int]State{0: OK, 1: OK, enough: OK, enough + 1: Warning} {
		if r := (&Subject{MaxSessions: n, Descriptors: 50}).sessions(); r.State != want {
			t.Errorf("%d sessions: got %+v, want %v", n, r, want)
		}
	}
}

func TestStatusPage(t *testing.T) {
	page := func(healthy, ready int) string {
		answers := http.NewServeMux()
		answers.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(healthy) })
		answers.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(ready) })
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: answers}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
		return l.Addr().String()
	}
	for name, test := range map[string]struct{ addr, want string }{
		"none":     {"", "skipped status no status page is configured -> to get one, run the proxy with --status ADDR"},
		"ready":    {page(200, 200), "ok status ADDR: the status page answers, and the proxy is ready"},
		"stopping": {page(200, 503), "warning status ADDR: the proxy is running, but not ready: it is starting or stopping"},
		"other":    {page(404, 404), "failed status ADDR: it answers /healthz with code 404 -> it may be another program; choose another address with --status"},
		"half":     {page(200, 404), "failed status ADDR: it answers /readyz with code 404 -> it may be another program; choose another address with --status"},
		"no port":  {"127.0.0.1:0", "skipped status ADDR: the system chooses the port when the proxy starts"},
		"not HTTP": {testkit.Serve(t, answers("SSH-2.0-x\r\n")), "failed status ADDR: the status page does not answer: net/http: HTTP/1.x transport connection broken: malformed HTTP response \"SSH-2.0-x\" -> the proxy is not running, or runs without --status ADDR"},
		"nobody":   {testkit.Nobody(t), "failed status ADDR: the status page does not answer: connection refused -> the proxy is not running, or runs without --status ADDR"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Report{Checks: (&Subject{Status: test.addr}).statusPage(within(t))}
			if got := text(t, &r); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// Proxy runs all checks in the documented order, and fails if one of them does.
func TestProxy(t *testing.T) {
	s := &Subject{
		Listeners: []Listener{{Address: startProxy(t, new(proxy.Server))}, {Address: testkit.Nobody(t)}},
		Shapes:    []Shape{{Shape: transport.Shape{Mode: transport.ShapePad}}},
		Route:     func(string, string) (string, error) { return "192.168.1.2", nil },
	}
	r := Proxy(within(t), s, "valid: the defaults")
	all := []string{"configuration", "listener", "upstream", "network", "names", "shape", "sessions", "status"}
	var names []string
	for _, result := range r.Checks {
		names = append(names, result.Name)
		if result.What == "" {
			t.Errorf("%+v", result)
		}
	}
	if !slices.Equal(slices.Compact(names), all) || r.OK || r.Count(Failed) != 1 || r.Peer != nil {
		t.Errorf("%+v", r)
	}
	s.Listeners = s.Listeners[:1]
	if r := Proxy(within(t), s, "valid: the defaults"); !r.OK || r.Count(Warning) != 1 {
		t.Errorf("got %+v", r)
	}
}
