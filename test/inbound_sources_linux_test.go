package test

import (
	"net"
	"net/netip"
	"testing"

	"bip324proxy/test/hostile"
)

// The node sees each peer come from an address of --inbound-source: always the same one, alike for peers of one network
// group, and another one each time for those from loopback, such as Tor's.
func TestInboundSources(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	command(t, "ip", "route", "add", "local", "198.18.0.0/15", "dev", "lo")
	command(t, "ip", "-6", "route", "add", "local", "fd00::/8", "dev", "lo")
	for _, c := range []struct {
		source, node, prefix string
		shared               int // bits, the prefix's included, of two addresses of one network group
	}{
		{"auto", "127.0.0.1:0", "127.128.0.0/9", 9 + 15},
		{"198.18.0.0/15", "127.0.0.1:0", "198.18.0.0/15", 15 + 11},
		{"fd00::/8", "[::1]:0", "fd00::/8", 8 + 80},
		{"none", "127.0.0.1:0", "127.0.0.1/32", 32},
		{"none", "[::1]:0", "::1/128", 128},
	} {
		t.Run(c.source+" "+c.node, func(t *testing.T) {
			node, seen := sourceNode(t, c.node)
			p := startPublic(t, "regtest", node, "--inbound-source", c.source)
			from := func(address string) netip.Addr {
				t.Helper()
				g, err := joinNode(address, inboundAddr)
				if err != nil {
					t.Fatal(err)
				}
				defer g.nc.Close()
				got := <-seen
				if !netip.MustParsePrefix(c.prefix).Contains(got.Addr()) {
					t.Errorf("the node sees %s come from %v", address, got)
				}
				peer := g.nc.LocalAddr().String()
				if e := p.await(t, "session opened", func(e event) bool { return e.Msg == "session opened" && e.Peer == peer }); e.Source != got.String() {
					t.Errorf("the proxy logged %+v, want source=%v", e, got)
				}
				return got.Addr()
			}
			one, again, neighbour, other := from("66.6.6.6"), from("66.6.6.6"), from("66.6.7.7"), from("67.1.1.1")
			group, _ := one.Prefix(c.shared)
			if one != again || !group.Contains(neighbour) || c.source != "none" && one == other {
				t.Errorf("the node sees %v, %v, %v and %v", one, again, neighbour, other)
			}
			tor := map[netip.Addr]bool{}
			for range 3 {
				tor[from("127.0.0.1")] = true
			}
			if want := map[bool]int{true: 1, false: 3}[c.source == "none"]; len(tor) != want {
				t.Errorf("the node sees 3 peers from loopback come from %v, want %d addresses", tor, want)
			}
		})
	}
}

// sourceNode runs a node that speaks v1, and reports from where it is connected to.
func sourceNode(t *testing.T, address string) (addr string, seen chan netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	seen = make(chan netip.AddrPort, 1)
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			seen <- nc.RemoteAddr().(*net.TCPAddr).AddrPort()
			go func() {
				defer nc.Close()
				nc.Write(append(hostile.V1On(regtestMagic, "version", hostile.Version("/node:1/")), hostile.V1On(regtestMagic, "verack", nil)...))
				readAll(nc.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String(), seen
}
