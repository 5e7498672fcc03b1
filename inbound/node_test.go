package inbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"bip324proxy/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listenTCP returns a listener on a free port of host, closed with the test.
func listenTCP(t *testing.T, host string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dialed connects to the node and returns the address that the node sees.
func dialed(t *testing.T, n *Node, l net.Listener, peer netip.Addr) netip.Addr {
	t.Helper()
	conn, _, err := n.Dial(t.Context(), peer)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	seen, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close()
	if tcp, ok := seen.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

// The node sees each peer come from the address of the source, by whichever name the node
// has; without a source all come from one.
func TestDial(t *testing.T) {
	l := listenTCP(t, "127.0.0.1")
	peer, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("203.0.113.1")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, address := range []string{l.Addr().String(), "localhost:" + port} {
		n := &Node{Network: "tcp", Address: address}
		if one := dialed(t, n, l, peer); one != dialed(t, n, l, other) || one != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("without a source %s sees %v", address, one)
		}
		if runtime.GOOS != "linux" {
			continue
		}
		n.Source = newSource(loopbackSources)
		for _, each := range []netip.Addr{peer, other, peer} {
			if got, want := dialed(t, n, l, each), n.Source.Addr(each); got != want {
				t.Errorf("%s sees %v come from %v, want %v", address, each, got, want)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "s")
	socket, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	dialed(t, &Node{Network: "unix", Address: path}, socket, peer)
}

// No public address is connected to.
func TestDialPublic(t *testing.T) {
	for address, public := range map[string]bool{"8.8.8.8:8333": true, "[2600::1]:8333": true, "224.0.0.1:8333": true,
		"[64:ff9b::10.0.0.1]:8333": true, "[64:ff9b:1::10.0.0.1]:8333": true, // NAT64
		"[2002:a00:1::1]:8333": true, "192.88.99.1:8333": true, // 6to4
		"[2001:0:808:808::f5ff:fffe]:8333": true, // Teredo
		"[2600::5efe:10.0.0.1]:8333":       true, // ISATAP
		"[::ffff:8.8.8.8]:8333":            true, "[4000::1]:8333": true,
		"127.0.0.1:8333": false, "10.0.0.1:8333": false, "[fd00::1]:8333": false, "bitcoind:8333": false,
		"[::1]:8333": false, "[fe80::1%eth0]:8333": false, "[::ffff:127.0.0.1]:8333": false, "100.64.0.1:8333": false} {
		n := &Node{Network: "tcp", Address: address}
		err := n.Check()
		if got := errors.As(err, new(*PublicNodeError)); got != public || !public && err != nil {
			t.Errorf("Check of %s: %v", address, err)
			continue // and do not dial it
		}
		if !public {
			continue
		}
		if conn, _, err := n.Dial(t.Context(), netip.Addr{}); conn != nil || !errors.As(err, new(*PublicNodeError)) {
			t.Errorf("%s was connected to, or failed with %v", address, err)
		}
	}
}

// After a failure the node is left alone for a while, which doubles up to a limit. Then one
// attempt is made, also if several peers are there; the first success ends it.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{Network: "tcp", Address: "127.0.0.1:1"}
		refused := &NodeError{Err: errors.New("refused")}
		attempt := func(failure *NodeError) Attempt {
			t.Helper()
			if err := n.Down(); err != nil {
				t.Fatalf("the node counts as down: %v", err)
			}
			if err := n.begin(); err != nil {
				t.Fatalf("no attempt is made: %v", err)
			}
			return n.end(failure, true)
		}
		if got := attempt(refused); !got.Down || got.Back != 0 {
			t.Errorf("the first failure: %+v", got)
		}
		waited := time.Duration(0)
		for _, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			wait *= time.Second
			time.Sleep(wait - 1)
			if n.Down() == nil || n.begin() == nil {
				t.Fatalf("an attempt is made before %v", wait)
			}
			time.Sleep(time.Nanosecond)
			waited += wait
			if got := attempt(refused); got.Down || got.Back != 0 {
				t.Errorf("another failure: %+v", got)
			}
		}
		time.Sleep(backOffMax)
		waited += backOffMax
		if err := n.begin(); err != nil {
			t.Fatal(err)
		}
		if n.Down() == nil || n.begin() == nil {
			t.Error("two attempts at a time")
		}
		n.end(refused, false) // the peer left meanwhile
		if got := attempt(nil); got.Down || got.Back != waited {
			t.Errorf("the first success: %+v after %v", got, waited)
		}
		if got := attempt(refused); !got.Down {
			t.Errorf("the next failure: %+v", got)
		}
		time.Sleep(backOffMin)
		if got := attempt(nil); got.Back != backOffMin {
			t.Errorf("the next success: %+v", got)
		}
	})
}

// Several attempts that fail at the same time count as one.
func TestBackOffOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{Network: "tcp", Address: "127.0.0.1:1"}
		for range 10 {
			if err := n.begin(); err != nil {
				t.Fatal(err)
			}
		}
		told := 0
		for range 10 {
			if n.end(&NodeError{Err: errors.New("refused")}, true).Down {
				told++
			}
		}
		if time.Sleep(backOffMin); told != 1 || n.Down() != nil {
			t.Errorf("told %d times; %v", told, n.Down())
		}
	})
}

// A node that cannot be connected to is down; a peer that leaves during the attempt does
// not make it so.
func TestDialFails(t *testing.T) {
	n := &Node{Network: "tcp", Address: testkit.Nobody(t)}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, attempt, err := n.Dial(gone, netip.Addr{}); err == nil || attempt.Down || n.Down() != nil {
		t.Errorf("the peer left: %+v, %v; %v", attempt, err, n.Down())
	}
	var failure *NodeError
	if _, attempt, err := n.Dial(t.Context(), netip.Addr{}); !errors.As(err, &failure) || failure.Node != n.Address || !attempt.Down {
		t.Errorf("got %+v, %v", attempt, err)
	}
	if _, attempt, err := n.Dial(t.Context(), netip.Addr{}); err != failure || n.Down() != failure || attempt != (Attempt{}) {
		t.Errorf("the node is not down: %+v, %v", attempt, err)
	}
}

// A node that is a listener of the program is told by its name, 0.0.0.0 and the path.
func TestListensAt(t *testing.T) {
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	for _, c := range []struct {
		node, listener string
		want           bool
	}{
		{"127.0.0.1:8333", "127.0.0.1:8333", true},
		{"127.0.0.1:8333", "0.0.0.0:8333", true},
		{"localhost:8333", "127.0.0.1:8333", true},
		{"localhost:8333", "[::]:8333", true},
		{"0.0.0.0:8333", "127.0.0.1:8333", true},
		{"127.0.0.1:8334", "0.0.0.0:8333", false},
		{"127.0.0.1:8333", "192.0.2.1:8333", false},
	} {
		if got := (&Node{Network: "tcp", Address: c.node}).ListensAt(tcp(c.listener)); got != c.want {
			t.Errorf("%s with a listener at %s: got %v", c.node, c.listener, got)
		}
	}
	if n := (&Node{Network: "unix", Address: "/s"}); !n.ListensAt(&net.UnixAddr{Name: "/s", Net: "unix"}) || n.ListensAt(tcp("127.0.0.1:1")) {
		t.Error("unix:/s")
	}
}
