package inbound

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
)

// randomPeer returns a random public IPv4 address, or an IPv6 one.
func randomPeer(random *rand.Rand, six bool) netip.Addr {
	if six {
		b := [16]byte{0x20, 0x01}
		for i := 2; i < len(b); i++ {
			b[i] = byte(random.Uint32())
		}
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte{byte(1 + random.Uint32N(126)), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
}

// A peer keeps its address, which is within the prefix, and peers of one network group share
// the first two thirds of the bits.
func TestSource(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for prefix, shared := range map[string]int{"127.128.0.0/9": 24, "127.0.0.0/8": 24, "198.18.0.0/15": 26, "10.1.2.0/24": 29, "fd00::/8": 88, "fd00::/120": 125} {
		s := newSource(netip.MustParsePrefix(prefix))
		for i := range 10_000 {
			peer := randomPeer(random, i%2 == 1)
			got := s.Addr(peer)
			if !s.prefix.Contains(got) || got != s.Addr(peer) || got == netip.MustParseAddr("127.0.0.1") {
				t.Fatalf("%s: %v is seen from %v, then from %v", prefix, peer, got, s.Addr(peer))
			}
			b := peer.AsSlice()
			b[len(b)-1]++
			neighbour, _ := netip.AddrFromSlice(b)
			group, _ := got.Prefix(shared)
			if next := s.Addr(neighbour); !group.Contains(next) {
				t.Fatalf("%s: %v is seen from %v, and %v from %v", prefix, peer, got, neighbour, next)
			}
		}
	}
}

// Peers of different groups rarely share an address: what is expected of random ones. All
// addresses are used alike.
func TestSourceSpreads(t *testing.T) {
	const peers = 20_000
	random := rand.New(rand.NewPCG(3, 4))
	s := newSource(loopbackSources)
	seen, firstBits := make(map[netip.Addr]int), make([]int, 16)
	for range peers {
		got := s.Addr(randomPeer(random, false))
		seen[got]++
		firstBits[got.As4()[1]&0x7f>>3]++
	}
	// Of 2·10⁸ pairs of peers 23.8 share one of 2²³ addresses by chance, and of the 6,200 with
	// one of 32,256 groups 24.2 one of its 2⁸: 48; more than 100 do so once in 10¹⁰ runs.
	if shared := peers - len(seen); shared > 100 {
		t.Errorf("%d of %d peers share an address with another", shared, peers)
	}
	for i, n := range firstBits { // 1250 each; the standard deviation is 34
		if n < 1000 || n > 1500 {
			t.Errorf("%d of %d addresses begin with the bits %04b", n, peers, i)
		}
	}
}

// Another process has another key, and so other addresses.
func TestSourceKey(t *testing.T) {
	same := 0
	a, b := newSource(loopbackSources), newSource(loopbackSources)
	random := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		if peer := randomPeer(random, false); a.Addr(peer) == b.Addr(peer) {
			same++
		}
	}
	if same > 3 {
		t.Errorf("%d of 1000 peers have the same address with two keys", same)
	}
}

// Unknown peers, such as those of Tor, have another address each time.
func TestSourceUnknownPeers(t *testing.T) {
	s := newSource(loopbackSources)
	for _, peer := range []netip.Addr{{}, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback(), netip.MustParseAddr("::ffff:127.0.0.1")} {
		seen := make(map[netip.Addr]bool)
		for range 1000 {
			seen[s.Addr(peer)] = true
		}
		if len(seen) < 990 {
			t.Errorf("%v was seen from %d addresses in 1000 sessions", peer, len(seen))
		}
	}
}

// The addresses of networks, of broadcasts and of the user's own programs are not used.
func TestSourceReserved(t *testing.T) {
	s := newSource(netip.MustParsePrefix("127.0.0.0/24"))
	random := rand.New(rand.NewPCG(7, 8))
	seen := make(map[byte]int)
	for range 20_000 {
		seen[s.Addr(randomPeer(random, false)).As4()[3]]++
	}
	if seen[0]+seen[1]+seen[255] > 0 || len(seen) != 253 {
		t.Errorf("%d addresses were used; .0, .1 and .255 were %d, %d and %d times", len(seen), seen[0], seen[1], seen[255])
	}
}

func TestParseSource(t *testing.T) {
	tcp := func(address string) *Node { return &Node{Network: "tcp", Address: address} }
	unix := &Node{Network: "unix", Address: "/run/node"}
	linux := func(prefix, elsewhere string) (want, fails string) {
		if runtime.GOOS == "linux" {
			return prefix, ""
		}
		return "", elsewhere
	}
	auto, autoFails := linux("127.128.0.0/9", "auto needs Linux")
	other := func(why string) string {
		_, fails := linux("", "auto needs Linux")
		return strings.TrimSpace(fails + map[bool]string{true: why}[fails == ""])
	}
	for _, c := range []struct {
		setting     string
		node        *Node
		want, fails string
	}{
		{"auto", tcp("127.0.0.1:8334"), auto, autoFails},
		{"auto", tcp("localhost:8334"), auto, autoFails},
		{"auto", tcp("[::1]:8334"), "", other("auto needs a node on an IPv4 loopback address")},
		{"auto", tcp("10.0.0.2:8334"), "", other("bcoin and btcd ban all of them for 24 h")},
		{"auto", tcp("bitcoind:8334"), "", other("bitcoind:8334 is not")},
		{"auto", unix, "none", ""},
		{"none", tcp("127.0.0.1:8334"), "none", ""},
		{"none", unix, "none", ""},
		{"198.18.0.0/15", tcp("127.0.0.1:8334"), "198.18.0.0/15", ""},
		{"198.18.0.0/15", tcp("bitcoind:8334"), "198.18.0.0/15", ""},
		{"fd00::/8", tcp("[::1]:8334"), "fd00::/8", ""},
		{"127.0.0.0/8", tcp("127.0.0.1:8334"), "127.0.0.0/8", ""},
		{"10.99.0.0/16", tcp("10.0.0.2:8334"), "10.99.0.0/16", ""},
		{"all", tcp("127.0.0.1:8334"), "", `"all" is invalid; must be auto, none or a PREFIX`},
		{"198.18.0.1/15", tcp("127.0.0.1:8334"), "", "write 198.18.0.0/15"},
		{"198.18.0.0/25", tcp("127.0.0.1:8334"), "", "as in /24"},
		{"fd00::/121", tcp("[::1]:8334"), "", "as in /120"},
		{"fd00::/8", tcp("127.0.0.1:8334"), "", "not of the address family"},
		{"10.99.0.0/16", tcp("10.99.0.2:8334"), "", "contains the address of the node"},
		{"127.128.0.0/9", tcp("10.99.0.2:8334"), "", "only for a node on this machine"},
		{"198.18.0.0/15", unix, "none", ""},
		{"240.0.0.0/4", unix, "", "treat as public"},
		{"240.0.0.0/4", tcp("127.0.0.1:8334"), "", "treat as public"},
		{"2002::/16", tcp("[::1]:8334"), "", "treat as public"},
		{"8.0.0.0/8", tcp("127.0.0.1:8334"), "", "treat as public"},
		{"0.0.0.0/0", tcp("127.0.0.1:8334"), "", "treat as public"},
		{"10.0.0.0/7", tcp("127.0.0.1:8334"), "", "treat as public"},
	} {
		s, err := ParseSource(c.setting, c.node)
		switch {
		case c.fails == "" && (err != nil || s.String() != c.want):
			t.Errorf("%s for %v: got %v, %v; want %s", c.setting, c.node, s, err, c.want)
		case c.fails != "" && !strings.Contains(fmt.Sprint(err), c.fails):
			t.Errorf("%s for %v: got %v, %v; want an error with %q", c.setting, c.node, s, err, c.fails)
		}
	}
}
