package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/socks"
)

// resolveName returns Tor's RESOLVE for a name, or for an address as text.
func resolveName(host string) []byte {
	return slices.Concat([]byte{5, 0xF0, 0, 3, byte(len(host))}, []byte(host), []byte{0, 0})
}

var (
	cannotResolve = []byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}
	loopbackIs    = []byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0}

	// torProbe is what Electrum sends in one piece to test whether a proxy is Tor, and torAnswer is
	// Tor's answer.
	torProbe  = []byte("\x05\x01\x00\x05\xf0\x00\x03\x070.0.0.0\x00\x00")
	torAnswer = []byte("\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
)

// askResolve sends request and returns all data until the end.
func askResolve(t *testing.T, nc net.Conn, request []byte) []byte {
	t.Helper()
	nc.Write([]byte{5, 1, 0})
	var method [2]byte
	if _, err := io.ReadFull(nc, method[:]); err != nil || method != [2]byte{5, 0} {
		t.Errorf("method reply % x, %v", method, err)
	}
	nc.Write(request)
	b, err := io.ReadAll(nc)
	if err != nil {
		t.Error(err)
	}
	return b
}

// Without an upstream proxy RESOLVE is answered by this machine's resolver.
func TestResolve(t *testing.T) {
	resolver(t, func(int) []netip.Addr { return nil })
	e := start(t, new(proxy.Server))
	v6 := netip.MustParseAddr("2001:db8::7").As16()
	answer6 := slices.Concat([]byte{5, 0, 0, 4}, v6[:], []byte{0, 0})
	for _, c := range []struct {
		name    string
		request []byte
		want    []byte
		why     string // for refusing it; empty if it succeeds
	}{
		{"IPv4 as a name", resolveName("192.0.2.7"), []byte{5, 0, 0, 1, 192, 0, 2, 7, 0, 0}, ""},
		{"IPv4", []byte{5, 0xF0, 0, 1, 192, 0, 2, 7, 0, 0}, []byte{5, 0, 0, 1, 192, 0, 2, 7, 0, 0}, ""},
		{"with a port", []byte{5, 0xF0, 0, 1, 192, 0, 2, 7, 0x20, 0x8d}, []byte{5, 0, 0, 1, 192, 0, 2, 7, 0, 0}, ""},
		{"IPv6 as a name", resolveName("2001:db8::7"), answer6, ""},
		{"IPv6 in brackets", resolveName("[2001:db8::7]"), answer6, ""},
		{"IPv6", slices.Concat([]byte{5, 0xF0, 0, 4}, v6[:], []byte{0, 0}), answer6, ""},
		{"mapped IPv4", resolveName("::ffff:192.0.2.7"), []byte{5, 0, 0, 1, 192, 0, 2, 7, 0, 0}, ""},
		{"localhost", resolveName("localhost"), loopbackIs, ""},
		{"LOCALHOST", resolveName("LOCALHOST"), loopbackIs, ""},
		{"unknown", resolveName("no-such-host.invalid"), cannotResolve, "the name has no address"},
		{"onion", resolveName("name.onion"), cannotResolve, "cannot be reached without an upstream proxy"},
		{"ONION.", resolveName("NAME.ONION."), cannotResolve, "cannot be reached without an upstream proxy"},
		{"I2P", resolveName("name.b32.i2p"), cannotResolve, "cannot be reached without an upstream proxy"},
		{"0.0.0.0 as a name", resolveName("0.0.0.0"), cannotResolve, "whether this is Tor, and it is not"},
		{"0.0.0.0", []byte{5, 0xF0, 0, 1, 0, 0, 0, 0, 0, 0}, cannotResolve, "whether this is Tor, and it is not"},
		{"::", resolveName("::"), cannotResolve, "whether this is Tor, and it is not"},
		{"RESOLVE_PTR", []byte{5, 0xF1, 0, 1, 127, 0, 0, 1, 0, 0}, []byte{5, 7, 0, 1, 0, 0, 0, 0, 0, 0}, "RESOLVE_PTR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := e.dial()
			if got := askResolve(t, client, c.request); !bytes.Equal(got, c.want) {
				t.Errorf("answer % x, want % x", got, c.want)
			}
			client.Close()
			if c.why != "" {
				e.wantEnd(client, "refused", c.why)
			}
		})
	}
	if n := len(e.net.dials); n > 0 {
		t.Errorf("dialled %v, want nothing", e.net.dials)
	}
}

// recordWrites serves another listener and sends each connection's writes to the channel.
func (e *env) recordWrites() (addr string, recorded <-chan *tapped) {
	e.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	taps, served := make(chan *tapped, 1), make(chan error, 1)
	go func() { served <- e.server.Serve(&tappingListener{l, taps}) }()
	e.t.Cleanup(func() {
		l.Close()
		receive(e.t, served, "Serve to return")
	})
	return l.Addr().String(), taps
}

// Electrum's probe is answered exactly as by Tor, in one segment, if and only if the upstream proxy
// is Tor.
func TestTorProbe(t *testing.T) {
	t.Parallel()
	probe := func(t *testing.T, e *env, want []byte) {
		addr, recorded := e.recordWrites()
		client := e.dialTo(addr)
		client.Write(torProbe)
		if got, err := io.ReadAll(client); !bytes.Equal(got, want) || err != nil {
			t.Errorf("answer % x, %v; want % x", got, err, want)
		}
		writes := receive(t, recorded, "a connection").writes
		if len(writes) != 1 || !bytes.Equal(writes[0], want) {
			t.Errorf("writes % x, want one", writes)
		}
	}
	notTor := func(code byte) []byte { return []byte{5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0} }
	t.Run("directly", func(t *testing.T) {
		probe(t, start(t, new(proxy.Server)), notTor(4))
	})
	t.Run("through Tor", func(t *testing.T) {
		u := newUpstream(t, "tcp", "127.0.0.1:0")
		u.resolve["0.0.0.0"] = netip.IPv4Unspecified()
		probe(t, u.startBehind(t, new(proxy.Server)), torAnswer)
		if all, want := u.requests(), []asked{{socks.CommandResolve, "0.0.0.0", "", ""}}; !slices.Equal(all, want) {
			t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
		}
	})
	for _, code := range []socks.ReplyCode{socks.GeneralFailure, socks.HostUnreachable, socks.CommandNotSupported} {
		t.Run(fmt.Sprintf("through another proxy, %v", code), func(t *testing.T) {
			u := newUpstream(t, "tcp", "127.0.0.1:0")
			u.refuse["0.0.0.0"] = code
			probe(t, u.startBehind(t, new(proxy.Server)), notTor(4))
		})
	}
	t.Run("through nothing", func(t *testing.T) {
		u := newUpstream(t, "tcp", "127.0.0.1:0")
		u.Address = "127.0.0.1:1" // nothing listens there
		probe(t, u.startBehind(t, new(proxy.Server)), notTor(4))
	})
}

// With an upstream proxy RESOLVE gets that proxy's answer, and names are sent to nothing else.
func TestResolveUpstream(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, "tcp", "127.0.0.1:0")
	u.resolve["node.invalid"] = netip.MustParseAddr("192.0.2.9")
	u.resolve["six.invalid"] = netip.MustParseAddr("2001:db8::9")
	u.resolve["name.onion"] = netip.MustParseAddr("127.192.0.1") // Tor's AutomapHostsOnResolve
	u.resolve["localhost"] = netip.MustParseAddr("192.0.2.1")
	u.refuse["f0.onion"] = socks.OnionDescriptorNotFound
	u.refuse["denied.invalid"] = socks.CommandNotSupported
	e := u.startBehind(t, new(proxy.Server))
	nine := netip.MustParseAddr("2001:db8::9").As16()
	for host, want := range map[string][]byte{
		"node.invalid":    {5, 0, 0, 1, 192, 0, 2, 9, 0, 0},
		"six.invalid":     slices.Concat([]byte{5, 0, 0, 4}, nine[:], []byte{0, 0}),
		"name.onion":      {5, 0, 0, 1, 127, 192, 0, 1, 0, 0},
		"localhost":       {5, 0, 0, 1, 192, 0, 2, 1, 0, 0},
		"unknown.invalid": cannotResolve,
		"f0.onion":        cannotResolve,
		"denied.invalid":  cannotResolve,
	} {
		t.Run(host, func(t *testing.T) {
			client := e.dial()
			if got := askResolve(t, client, resolveName(host)); !bytes.Equal(got, want) {
				t.Errorf("answer % x, want % x", got, want)
			}
			client.Close()
			if all, want := u.requests(), []asked{{socks.CommandResolve, host, "", ""}}; !slices.Equal(all, want) {
				t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
			}
			if want[1] != 0 {
				e.wantEnd(client, "refused", "the upstream proxy at "+u.Address+" did not resolve "+host)
			}
		})
	}
	t.Run("with credentials", func(t *testing.T) {
		client := e.dial()
		client.Write([]byte("\x05\x01\x02\x01\x04user\x04pass"))
		client.Write(resolveName("node.invalid"))
		want := []byte{5, 2, 1, 0, 5, 0, 0, 1, 192, 0, 2, 9, 0, 0}
		if got, err := io.ReadAll(client); !bytes.Equal(got, want) || err != nil {
			t.Errorf("answer % x, %v; want % x", got, err, want)
		}
		if all, want := u.requests(), []asked{{socks.CommandResolve, "node.invalid", "user", "pass"}}; !slices.Equal(all, want) {
			t.Errorf("requests to the upstream proxy: got %v, want %v", all, want)
		}
	})
	t.Run("an address is one already", func(t *testing.T) {
		client := e.dial()
		if got, want := askResolve(t, client, resolveName("192.0.2.7")), []byte{5, 0, 0, 1, 192, 0, 2, 7, 0, 0}; !bytes.Equal(got, want) {
			t.Errorf("answer % x, want % x", got, want)
		}
	})
}
