package proxy_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
)

// recordingUpstream is a SOCKS5 proxy that refuses each request and sends its bytes to the channel.
func recordingUpstream(t *testing.T) (*socks.Upstream, <-chan []byte) {
	t.Helper()
	requests := make(chan []byte, 100)
	address := testkit.Serve(t, func(nc net.Conn) {
		field := func(n int) []byte {
			b := make([]byte, n)
			io.ReadFull(nc, b)
			return b
		}
		field(int(field(2)[1]))
		nc.Write([]byte{5, 0})
		head := field(5)
		size := map[byte]int{1: 3, 3: int(head[4]), 4: 15}[head[3]]
		requests <- slices.Concat(head, field(size+2))
		nc.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0})
	})
	return &socks.Upstream{Network: "tcp", Address: address}, requests
}

// The upstream proxy gets text for text, and binary for binary: Tor's SafeSocks refuses binary
// addresses. An address in unusual spelling is sent in its canonical form, which the rules judged.
func TestUpstreamGetsTheClientsForm(t *testing.T) {
	t.Parallel()
	u, requests := recordingUpstream(t)
	e := start(t, &proxy.Server{Policy: proxy.Policy{Upstream: u}})
	text := func(command byte, host string) []byte {
		port := []byte{0x20, 0x8d}
		if command == 0xf0 {
			port = []byte{0, 0}
		}
		return slices.Concat([]byte{5, command, 0, 3, byte(len(host))}, []byte(host), port)
	}
	v6 := netip.MustParseAddr("2001:db8::7").As16()
	for name, c := range map[string]struct{ sent, want []byte }{
		"IPv4 as text":    {text(1, "198.51.100.7"), text(1, "198.51.100.7")},
		"IPv6 as text":    {text(1, "2001:db8::7"), text(1, "2001:db8::7")},
		"IPv4":            {[]byte{5, 1, 0, 1, 198, 51, 100, 7, 0x20, 0x8d}, []byte{5, 1, 0, 1, 198, 51, 100, 7, 0x20, 0x8d}},
		"IPv6":            {slices.Concat([]byte{5, 1, 0, 4}, v6[:], []byte{0x20, 0x8d}), slices.Concat([]byte{5, 1, 0, 4}, v6[:], []byte{0x20, 0x8d})},
		"octal":           {text(1, "010.0.0.1"), text(1, "8.0.0.1")},
		"short":           {text(1, "127.1"), text(1, "127.0.0.1")},
		"a number":        {text(1, "2130706433"), text(1, "127.0.0.1")},
		"dot at the end":  {text(1, "198.51.100.7."), text(1, "198.51.100.7")},
		"brackets":        {text(1, "[2001:DB8::7]"), text(1, "2001:db8::7")},
		"mapped":          {text(1, "::ffff:198.51.100.7"), text(1, "198.51.100.7")},
		"a name":          {text(1, "Node.Example."), text(1, "Node.Example.")},
		"RESOLVE":         {text(0xf0, "node.example"), text(0xf0, "node.example")},
		"RESOLVE 0.0.0.0": {text(0xf0, "0.0.0.0"), text(0xf0, "0.0.0.0")},
		"RESOLVE binary":  {[]byte{5, 0xf0, 0, 1, 0, 0, 0, 0, 0, 0}, []byte{5, 0xf0, 0, 1, 0, 0, 0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			client := e.dial()
			client.Write(append([]byte{5, 1, 0}, c.sent...))
			io.ReadAll(client)
			if got := receive(t, requests, "a request"); !bytes.Equal(got, c.want) {
				t.Errorf("the upstream proxy received % x, want % x", got, c.want)
			}
		})
	}
}

// A refused RESOLVE does not reach the upstream proxy.
func TestResolveIsJudgedBeforeTheUpstream(t *testing.T) {
	t.Parallel()
	u, requests := recordingUpstream(t)
	deny, err := rules.ParseRule("private")
	if err != nil {
		t.Fatal(err)
	}
	e := start(t, &proxy.Server{Policy: proxy.Policy{Upstream: u, Rules: rules.Rules{Deny: []rules.Rule{deny}}}})
	for _, request := range [][]byte{
		resolveName("0.0.0.0"), resolveName("::"), resolveName("0"), resolveName("10.1"), resolveName("localhost"),
		{5, 0xf0, 0, 1, 0, 0, 0, 0, 0, 0},
	} {
		client := e.dial()
		if got := askResolve(t, client, request); len(got) < 2 || got[1] != byte(socks.NotAllowed) {
			t.Errorf("% x: answer % x", request, got)
		}
	}
	if len(requests) > 0 {
		t.Errorf("the upstream proxy received % x, want nothing", <-requests)
	}
}
