package check

import (
	"bytes"
	"log/slog"
	"net"
	"testing"

	"bip324proxy/internal/testkit"
	"bip324proxy/internal/transparent"
	"bip324proxy/proxy"
)

// At a transparent listener the checks only look whether the port is open, and leave no trace in
// the proxy's log and counts.
func TestTransparentListener(t *testing.T) {
	if err := transparent.Supported(); err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	server := &proxy.Server{Log: slog.New(slog.NewTextHandler(&log, nil))}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTransparent(l) }()
	subject := &Subject{Listeners: []Listener{{Address: l.Addr().String(), Transparent: true}, {Address: "systemd:x", Transparent: true, Activated: true}}}
	r := Listeners(within(t), subject)
	if !r.OK || len(r.Checks) != 2 || r.Checks[0].State != OK || r.Checks[1].State != Skipped {
		t.Errorf("got %+v", r)
	}
	server.Shutdown(t.Context())
	<-ended
	now := server.Snapshot()
	for kind, n := range now.Refused {
		if n > 0 {
			t.Errorf("%d refused as %s", n, kind)
		}
	}
	if log.Len() > 0 || len(now.Refusals) > 0 {
		t.Errorf("logged %q, refusals %v; want none", &log, now.Refusals)
	}
	subject.Listeners = []Listener{{Address: testkit.Nobody(t), Transparent: true}}
	if r := Listeners(within(t), subject); r.OK {
		t.Errorf("nobody listens: got %+v", r)
	}
}
