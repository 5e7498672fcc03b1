package fallback

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// If a name has several addresses, the handshake is tried with one after the other until it
// completes.
func TestNameWithManyAddresses(t *testing.T) {
	for _, test := range []struct {
		name     string
		peers    []behaviour // one per address, in the resolver's order
		v2       bool
		contacts int // number of addresses connected to
	}{
		{"the first speaks v2", []behaviour{speaksV2, silent}, true, 1},
		{"the second does", []behaviour{takes(64, closes), speaksV2}, true, 2},
		{"after a reset, garbage and silence", []behaviour{takes(64, resets), takes(64, says(make([]byte, 64+4111), silent)), silent, speaksV2}, true, 4},
		{"none does", []behaviour{takes(64, closes), takes(64, closes)}, false, 2},
		{"the fifth does, too late", []behaviour{takes(64, closes), takes(64, closes), takes(64, closes), takes(64, closes), speaksV2}, false, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			addrs := make(map[string]string) // fake addresses to the listeners'
			var ips []netip.Addr
			var peers sync.WaitGroup
			defer peers.Wait()
			for i, peer := range test.peers {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				peers.Go(func() {
					for {
						nc, err := l.Accept()
						if err != nil {
							return
						}
						peers.Go(func() { peer(t, nc) })
					}
				})
				ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
				ips = append(ips, ip)
				addrs[net.JoinHostPort(ip.String(), "8333")] = l.Addr().String()
			}
			var dialled []string
			d := &Dialer{
				Direct:           true,
				FirstByteTimeout: time.Second,
				HandshakeTimeout: 10 * time.Second,
				Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
					if host != "seed.example" {
						t.Errorf("look-up of %s", host)
					}
					return ips, nil
				},
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr == "seed.example:8333" {
						addr = "192.0.2.1:8333"
					}
					dialled = append(dialled, addr)
					nc, err := new(net.Dialer).DialContext(ctx, network, addrs[addr])
					if err != nil {
						return nil, err
					}
					return &at{nc, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}, nil
				},
			}
			nc, err := d.Connect(t.Context(), "seed.example:8333")
			if err != nil {
				t.Fatal(err)
			}
			link, err := d.Upgrade(t.Context(), nc, "seed.example:8333", transport.Config{Magic: mainnet})
			if (link.V2 != nil) != test.v2 || (err == nil) != test.v2 {
				t.Errorf("got %+v, %v, want v2: %v", link, err, test.v2)
			}
			if err != nil && !errors.As(err, new(*transport.HandshakeError)) {
				t.Errorf("error %v is not a *transport.HandshakeError", err)
			}
			if link.V2 != nil {
				link.V2.Close()
			}
			if sorted := slices.Sorted(slices.Values(dialled)); len(dialled) != test.contacts || len(slices.Compact(sorted)) != test.contacts {
				t.Errorf("dialled %v, want %d addresses, each once", dialled, test.contacts)
			}
		})
	}
}

// If one address answers, v1 is ruled out for the whole name.
func TestOneAnswerRulesOutV1(t *testing.T) {
	for _, answers := range []bool{false, true} {
		second := behaviour(closes)
		if answers {
			second = says([]byte{7}, closes)
		}
		var peers sync.WaitGroup
		dials := 0
		d := &Dialer{
			Mode:       Always,
			Direct:     true,
			RetryAfter: time.Millisecond,
			Resolve: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
			},
			Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
				ours, theirs := testkit.TCPPair(t)
				peer, ip := takes(64, closes), "192.0.2.1:8333"
				switch dials++; dials {
				case 2:
					peer, ip = takes(64, second), "192.0.2.2:8333"
				case 4: // 3 retries v2 with the first address
					peer = silent
				}
				peers.Go(func() { peer(t, theirs) })
				return &at{ours, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(ip))}, nil
			},
		}
		nc, err := d.Connect(t.Context(), "seed.example:8333")
		if err != nil {
			t.Fatal(err)
		}
		link, err := d.Upgrade(t.Context(), nc, "seed.example:8333", transport.Config{Magic: mainnet})
		if answers != (err != nil) || answers != (link.V1 == nil) {
			t.Errorf("the second answers: %v, got %+v, %v", answers, link, err)
		}
		if want := map[bool]int{false: 4, true: 2}[answers]; dials != want {
			t.Errorf("the second answers: %v, %d dials, want %d", answers, dials, want)
		}
		if link.V1 != nil {
			link.V1.Close()
		}
		peers.Wait()
	}
}

// at is a connection with another remote address.
type at struct {
	net.Conn
	remote net.Addr
}

func (c *at) RemoteAddr() net.Addr { return c.remote }

func (c *at) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// An address is not looked up, and without a resolver neither is a name.
func TestNothingToResolve(t *testing.T) {
	asked := &Dialer{Direct: true, Resolve: func(context.Context, string) ([]netip.Addr, error) {
		t.Error("look-up of an address")
		return nil, nil
	}}
	for _, addr := range []string{"192.0.2.1:8333", "[2001:db8::1]:8333"} {
		if others, _ := asked.otherAddresses(t.Context(), addr, nil); others != nil {
			t.Errorf("%s: got %v", addr, others)
		}
	}
	if others, _ := new(Dialer).otherAddresses(t.Context(), "seed.example:8333", nil); others != nil {
		t.Errorf("without a resolver: got %v", others)
	}
}

// Addresses that cannot be connected to, such as those of a family without a route, do not count
// towards the limit.
func TestUnreachableAddresses(t *testing.T) {
	var ips, four []netip.Addr
	for i := range byte(10) {
		ips = append(ips, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: i}))
		four = append(four, netip.AddrFrom4([4]byte{192, 0, 2, i}))
	}
	ips = append(ips, four...)
	var peers sync.WaitGroup
	defer peers.Wait()
	connected := 0
	d := &Dialer{
		Direct:  true,
		Resolve: func(context.Context, string) ([]netip.Addr, error) { return ips, nil },
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			to := netip.MustParseAddrPort(addr)
			if to.Addr().Is6() {
				return nil, errors.New("network is unreachable")
			}
			connected++
			peer := behaviour(takes(64, closes))
			if connected == 4 {
				peer = speaksV2
			}
			ours, theirs := testkit.TCPPair(t)
			peers.Go(func() { peer(t, theirs) })
			return &at{ours, net.TCPAddrFromAddrPort(to)}, nil
		},
	}
	nc, err := d.Connect(t.Context(), "seed.example:8333")
	if err != nil {
		t.Fatal(err)
	}
	link, err := d.Upgrade(t.Context(), nc, "seed.example:8333", transport.Config{Magic: mainnet})
	if err != nil || link.V2 == nil || connected != 4 {
		t.Fatalf("got %+v, %v after %d connections", link, err, connected)
	}
	link.V2.Close()
}
