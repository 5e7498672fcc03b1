package proxy_test

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"bip324proxy/internal/stream"
	"bip324proxy/proxy"
	"bip324proxy/socks"
)

// refusingUpstream listens at addr and refuses each request with code until stop is called.
func refusingUpstream(t *testing.T, addr string, code socks.ReplyCode) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("not run: %v", err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if request, err := (socks.Config{}).Negotiate(nc, stream.NewReader(nc)); err == nil {
				request.Reply(code)
			}
			nc.Close()
		}
	})
	stop = func() { l.Close(); serving.Wait() }
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// The upstream proxy's name is looked up again only when its address no longer works.
func TestUpstreamNameIsKept(t *testing.T) {
	first, stop := refusingUpstream(t, "127.0.0.1:0", socks.HostUnreachable)
	_, port, _ := net.SplitHostPort(first)
	refusingUpstream(t, "127.0.0.2:"+port, socks.TTLExpired)
	lookups := resolver(t, func(n int) []netip.Addr {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, byte(min(n, 1) + 1)})}
	})
	u, err := socks.ParseUpstream("socks5://proxy.example:" + port)
	if err != nil {
		t.Fatal(err)
	}
	e := startDirect(t, &proxy.Server{Policy: proxy.Policy{Upstream: u}})
	connect := func(want socks.ReplyCode, looked int64) {
		t.Helper()
		client := e.dial()
		code, err := ask(client, "node.example:8333")
		if socks.ReplyCode(code) != want || err != nil {
			t.Errorf("reply %d, %v; want %d", code, err, want)
		}
		client.Close()
		e.end(client)
		if n := lookups.Load(); n != looked {
			t.Errorf("%d look-ups, want %d", n, looked)
		}
	}
	for range 5 {
		connect(socks.HostUnreachable, 1)
	}
	stop()
	for range 5 {
		connect(socks.TTLExpired, 2)
	}
}

// The proxy detects itself as its upstream by name, too.
func TestUpstreamItselfByName(t *testing.T) {
	resolver(t, func(int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	e := startDirect(t, new(proxy.Server))
	_, port, _ := net.SplitHostPort(e.addr)
	u, err := socks.ParseUpstream("socks5://self.example:" + port)
	if err != nil {
		t.Fatal(err)
	}
	e.server.SetPolicy(proxy.Policy{Upstream: u})
	for range 2 { // the second time with the cached address, if any
		client := e.dial()
		if code, err := ask(client, "node.example:8333"); code != 2 || err != nil {
			t.Errorf("reply %d, %v, want 2", code, err)
		}
		client.Close()
		e.wantEnd(client, "refused", "the upstream proxy is the proxy itself")
	}
	if n := strings.Count(e.logs.text(), "session refused"); n != 2 {
		t.Errorf("%d sessions for two clients, want 2", n)
	}
}
