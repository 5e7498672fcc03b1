package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
	"bip324proxy/v1v2"

	"golang.org/x/net/dns/dnsmessage"
)

// The family holds for addresses and for names, also for the other addresses of a name. A name is
// looked up once.
func TestDialContextFamily(t *testing.T) {
	const name, four, six, mapped = "node.example:8333", "192.0.2.1:8333", "[2001:db8::1]:8333", "[::ffff:192.0.2.1]:8333"
	both := []string{"2001:db8::1", "192.0.2.1"}
	for _, c := range []struct {
		network, addr string
		has           []string // the name's addresses
		dialled       []string // nil: an error
	}{
		{"tcp", name, both, []string{six, four}},
		{"tcp4", name, both, []string{four}},
		{"tcp6", name, both, []string{six}},
		{"tcp4", name, both[:1], nil},
		{"tcp6", name, both[1:], nil},
		{"tcp", name, nil, nil},
		{"tcp", four, nil, []string{four}},
		{"tcp4", four, nil, []string{four}},
		{"tcp4", mapped, nil, []string{mapped}},
		{"tcp6", six, nil, []string{six}},
		{"tcp6", four, nil, nil},
		{"tcp6", mapped, nil, nil},
		{"tcp4", six, nil, nil},
		{"udp", four, nil, nil},
		{"unix", "/run/peer", nil, nil},
		{"tcp", "192.0.2.1", nil, nil},
		{"tcp", "node.example", nil, nil},
	} {
		w := newWorld(t)
		w.names["node.example"] = c.has
		w.peers[four], w.peers[six] = cut, cut
		lookups := 0
		w.d.Mode = Never
		w.d.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			lookups++
			return w.resolve(ctx, host)
		}
		w.d.Config.Magic = mainnet
		dial := w.d.Dial
		w.d.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if network != c.network {
				t.Errorf("%s %s: Dial got the network %s", c.network, c.addr, network)
			}
			return dial(ctx, network, addr)
		}
		conn, err := w.d.DialContext(t.Context(), c.network, c.addr)
		w.ends.Wait()
		isDial := errors.As(err, new(*net.OpError))
		if conn != nil || err == nil || isDial != (c.dialled == nil) || !slices.Equal(w.dialled, c.dialled) || lookups > 1 {
			t.Errorf("%s %s: dialled %v, looked up %d times, got %v, %v", c.network, c.addr, w.dialled, lookups, conn, err)
		}
		if unknown := c.network != "tcp" && c.network != "tcp4" && c.network != "tcp6"; errors.As(err, new(net.UnknownNetworkError)) != unknown {
			t.Errorf("%s: got %v", c.network, err)
		}
	}
}

// If the first address of a name does not speak v2, another one does, and v1 is not spoken.
func TestDialContextOtherAddress(t *testing.T) {
	w := newWorld(t)
	w.names["node.example"] = []string{"192.0.2.1", "192.0.2.2"}
	w.peers[addrA], w.peers[addrB] = cut, speaksV2
	w.d.Config.Magic = mainnet
	conn, err := w.d.DialContext(t.Context(), "tcp", "node.example:8333")
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.RemoteAddr().String(); conn.(*v1v2.Conn).Transport() != "v2" || got != addrB || !slices.Equal(w.dialled, []string{addrA, addrB}) {
		t.Errorf("connected to %s, dialled %v", got, w.dialled)
	}
	conn.Close()
	w.ends.Wait()
}

// Whatever Dial and Resolve are, nothing is looked up here where a proxy resolves names, nor ever
// a name that only Tor or I2P can reach.
func TestDialContextNoLookup(t *testing.T) {
	testkit.DNS(t, func(q dnsmessage.Question) ([]netip.Addr, bool) {
		t.Errorf("looked up %s", q.Name)
		return nil, false
	})
	resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
		t.Errorf("resolved %s", host)
		return nil, nil
	}
	for _, name := range []string{"node.example:8333", "peer.onion:8333", "peer.b32.i2p:0"} {
		for _, mode := range []Mode{Never, Always} {
			w := newWorld(t)
			w.d.Direct, w.d.Resolve, w.d.Mode = false, resolve, mode
			var dialled []string
			w.d.Dial = func(ctx context.Context, _, addr string) (net.Conn, error) {
				dialled = append(dialled, addr)
				w.peers[addrA] = cut
				return w.dial(ctx, "tcp", addrA)
			}
			conn, err := w.d.DialContext(t.Context(), "tcp", name)
			if err != nil {
				t.Fatal(err)
			}
			conn.Write(ourVersion)
			conn.Close()
			w.ends.Wait()
			if len(dialled) == 0 || slices.ContainsFunc(dialled, func(addr string) bool { return addr != name }) {
				t.Errorf("dialled %v", dialled)
			}
		}
	}
	for _, name := range []string{"peer.onion:8333", "PEER.Onion.:8333", "peer.b32.i2p:0",
		"peer.onion :8333", "peer.onion..\t:8333", "peer.onion/:8333", "peer\u3002onion:8333", "peer\uff0eonion\uff61:8333", "[peer.onion]:8333"} {
		for _, d := range []*Dialer{{}, {Resolve: resolve}, {Direct: true, Resolve: resolve, Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("dialled %s", name)
			return nil, io.EOF
		}}} {
			if _, err := d.DialContext(t.Context(), "tcp", name); !errors.Is(err, ErrNeedsProxy) || !strings.HasPrefix(err.Error(), "dial tcp "+name+": ") {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
}

// What would be sent twice, or lost, is refused before anything is dialled.
func TestDialContextConfig(t *testing.T) {
	for _, cfg := range []transport.Config{{First: [][]byte{{1}}}, {Received: []byte{1}}} {
		d := &Dialer{Config: cfg, Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialled")
			return nil, io.EOF
		}}
		if _, err := d.DialContext(t.Context(), "tcp", addrA); !errors.Is(err, errConfig) {
			t.Errorf("got %v", err)
		}
	}
}

// One Dialer serves many goroutines.
func TestDialContextTogether(t *testing.T) {
	testkit.NoLeaks(t)
	addr := testkit.Serve(t, func(nc net.Conn) {
		conn, err := v1v2.Server(context.Background(), nc, transport.Config{Magic: mainnet})
		if err != nil {
			t.Error(err)
			return
		}
		io.Copy(conn, conn)
		conn.Close()
	})
	d := &Dialer{Mode: Always, Peers: new(Peers)}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			conn, err := d.DialContext(t.Context(), "tcp4", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			conn.Write(ourVersion)
			got := make([]byte, len(ourVersion))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != string(ourVersion) || conn.(*v1v2.Conn).Transport() != "v2" {
				t.Errorf("read %x, %v", got, err)
			}
		})
	}
	all.Wait()
	if got := d.Peers.Lookup(addr); got != SpeaksV2 {
		t.Errorf("the peer is known as %v", got)
	}
}

// A Dial of the program's own may return a connection without an address.
func TestDialContextNoRemoteAddr(t *testing.T) {
	wire := &pipes{peers: []pipePeer{hangsUpAfter(0)}}
	d := &Dialer{Direct: true, Config: transport.Config{Magic: mainnet},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := wire.dial(ctx, network, addr)
			return &remoteAt{nc, nil}, err
		},
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}}
	if _, err := d.DialContext(t.Context(), "tcp", "node.example:8333"); !errors.As(err, new(*transport.HandshakeError)) {
		t.Errorf("got %v, want a *transport.HandshakeError", err)
	}
}
