package test

import (
	"fmt"
	"strings"
	"testing"

	"bip324proxy/test/hostile"
)

// Peers of one network that come, have messages dropped and leave, again and again, have few lines in the log. Those of
// other networks have theirs.
func TestInboundLogLines(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	node := startCountingNode(t)
	p := startPublic(t, "regtest", node.addr)
	const sessions = 50
	in := 0
	visit := func(from string) {
		peer, err := joinNode(from, inboundAddr)
		if err != nil {
			return
		}
		in++
		peer.Send(nil)
		peer.Send(hostile.V2("bad\nname", nil))
		if _, err := peer.ping(); err != nil {
			t.Errorf("%s: %v", from, err)
		}
		peer.nc.Close()
	}
	for i := 0; in < sessions && i < 10_000; i++ { // some connect too often
		visit(fmt.Sprintf("66.6.%d.6", i%200))
	}
	for i := 0; in == sessions && i < 10; i++ { // a busy machine may let one attempt time out
		visit("8.8.8.8")
	}
	p.await(t, "the line of another network's peer", func(e event) bool {
		return e.Msg == "session closed" && strings.HasPrefix(e.Peer, "8.8.8.8:")
	})
	if in != sessions+1 {
		t.Fatalf("%d sessions, want %d", in, sessions+1)
	}
	const limit = 30
	for _, text := range []string{`"session opened"`, `"session closed"`} {
		if n := p.out.count(text); n < limit/2 || n > limit+3 { // two more a minute, or three
			t.Errorf("%d lines about %d sessions with %s, want about %d", n, in, text, limit+1)
		}
	}
	if n := p.out.count("message dropped"); n > 0 {
		t.Errorf("%d lines about what peers sent", n)
	}
	if n := p.out.count("too many inbound sessions for a log line each"); n != 1 {
		t.Errorf("%d lines say that there are more sessions, want 1", n)
	}
}
