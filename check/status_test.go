package check

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bip324proxy/internal/hints"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/status"
)

// servePage serves the status page of a proxy until the test ends.
func servePage(t *testing.T, server *proxy.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	page := &status.Server{Snapshot: server.Snapshot, Log: slog.New(slog.DiscardHandler)}
	go func() { served <- page.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// A proxy that answers, but whose clients get nowhere, has a warning that says why: they use the
// status page as their proxy, or all that they ask for fails.
func TestStatusOfClientsInTrouble(t *testing.T) {
	rule, err := rules.ParseRule("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	server := &proxy.Server{Hint: hints.For, Policy: proxy.Policy{Rules: rules.Rules{Deny: []rules.Rule{rule}}}}
	addr := startProxy(t, server)
	s := &Subject{Status: servePage(t, server)}
	check := func() string {
		r := Report{Checks: s.statusPage(within(t))}
		return text(t, &r)
	}
	if got := check(); got != "ok status ADDR: the status page answers, and the proxy is ready" {
		t.Errorf("got %s", got)
	}
	client := socks.Upstream{Network: "tcp", Address: addr, Timeout: time.Minute}
	dest := socks.Addr{Host: "192.0.2.1", IP: netip.MustParseAddr("192.0.2.1"), Port: 8333}
	if _, err := client.Dial(within(t), dest, socks.Credentials{}); err == nil {
		t.Fatal("connected to an address that is denied")
	}
	for server.Snapshot().Failing == nil {
		time.Sleep(time.Millisecond)
	}
	const failing = "no client has a connection: 1 failed since "
	if got := check(); !strings.HasPrefix(got, "warning status ADDR: "+failing) || !strings.Contains(got, "most often (1, denied): ") || !strings.Contains(got, "--deny") {
		t.Errorf("got %s", got)
	}
	lost, err := net.Dial("tcp", s.Status)
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	lost.Write([]byte{5, 1, 0})
	io.ReadAll(lost)
	if got := check(); !strings.Contains(got, "uses this status page's address as its proxy -> set its SOCKS5 proxy to ADDR") || !strings.Contains(got, failing) {
		t.Errorf("got %s", got)
	}
}
