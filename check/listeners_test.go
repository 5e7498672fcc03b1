package check

import (
	"bytes"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
)

// Listeners contacts only the proxy, does not make the proxy contact anything, and leaves no trace
// in its log and counts, whatever its settings are.
func TestListenersOnly(t *testing.T) {
	auth := socks.Credentials{Username: "user", Password: "secret"}
	all, err := rules.ParseRule("*")
	if err != nil {
		t.Fatal(err)
	}
	var others atomic.Int32 // connections to the upstream proxy and to the peer
	other := testkit.Serve(t, func(net.Conn) { others.Add(1) })
	for name, test := range map[string]struct{ running, known proxy.Policy }{
		"plain":                      {},
		"with a password":            {proxy.Policy{Socks: socks.Config{Auth: &auth}}, proxy.Policy{Socks: socks.Config{Auth: &auth}}},
		"behind an upstream":         {proxy.Policy{Upstream: newUpstream(other)}, proxy.Policy{Upstream: newUpstream(other)}},
		"behind an upstream unknown": {proxy.Policy{Upstream: newUpstream(other)}, proxy.Policy{}},
		"denying":                    {proxy.Policy{Rules: rules.Rules{Deny: []rules.Rule{all}}}, proxy.Policy{}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			server := &proxy.Server{Policy: test.running, Log: slog.New(slog.NewTextHandler(&log, nil))}
			addr := startProxy(t, server)
			r := Listeners(within(t), &Subject{Policy: test.known, Listeners: []Listener{{Address: addr}, {Address: other, Peer: "node.example:8333"}}})
			if !r.OK || len(r.Checks) != 2 || r.Checks[0].State != OK || r.Checks[1].State != Skipped {
				t.Errorf("got %+v", r)
			}
			server.Shutdown(t.Context())
			now := server.Snapshot()
			for kind, n := range now.Refused {
				if n > 0 {
					t.Errorf("%d refused as %s", n, kind)
				}
			}
			if log.Len() > 0 || len(now.Refusals) > 0 || len(now.Closed) > 0 {
				t.Errorf("logged %q, refusals %v, sessions %v; want none", &log, now.Refusals, now.Closed)
			}
		})
	}
	if n := others.Load(); n > 0 {
		t.Errorf("%d connections to others than the proxy", n)
	}
}

// A proxy that does not answer is a failure.
func TestListenersFail(t *testing.T) {
	for _, addr := range []string{testkit.Nobody(t), testkit.Serve(t, closing), plainSOCKS5(t)} {
		if r := Listeners(within(t), &Subject{Listeners: []Listener{{Address: addr}}}); r.OK {
			t.Errorf("%s: got %+v", addr, r)
		}
	}
}
