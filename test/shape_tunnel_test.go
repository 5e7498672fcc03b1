package test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// shapedSession is what the status says of a session's shape.
type shapedSession struct {
	Inbound        bool   `json:"inbound"`
	SessionID      string `json:"session_id"`
	State          string `json:"state"`
	Shape          string `json:"shape"`
	FillerToPeer   uint64 `json:"filler_to_peer"`
	FillerFromPeer uint64 `json:"filler_from_peer"`
}

// shapedSessions returns the open sessions in the status at addr.
func shapedSessions(t *testing.T, addr string) (open []shapedSession) {
	t.Helper()
	r, err := http.Get("http://" + addr + "/api/status")
	if err != nil {
		return nil // the server has closed an idle connection
	}
	defer r.Body.Close()
	var status struct {
		Sessions []shapedSession `json:"sessions"`
	}
	if err := json.NewDecoder(r.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	for _, s := range status.Sessions {
		if s.State == "open" {
			open = append(open, s)
		}
	}
	return open
}

// awaitShape waits until the proxy logs that the shape in force is another one, and why.
func (p *proxy) awaitShape(t *testing.T, shape, cause string) {
	t.Helper()
	p.awaitLine(t, "the shape is "+shape, func(line string) bool {
		var e struct{ Shape, Cause string }
		return json.Unmarshal([]byte(line), &e) == nil && e.Shape == shape && e.Cause == cause
	})
}

// shapeUnit divides all sizes of pad, of cells and of bursts.
const shapeUnit = 1024

// aligned waits until several writes in a row have ended after a whole number of units from an offset, where one of
// another size would have moved all later ones. Offset -1 means any.
func aligned(t *testing.T, what string, offset int, sent func() int) int {
	t.Helper()
	last, run := -1, 0
	eventually(t, what, func() bool {
		n := sent()
		switch {
		case n == last:
			return run >= 5
		case offset < 0 && (n-last)%shapeUnit != 0, offset >= 0 && (n-offset)%shapeUnit != 0:
			run = 0
		default:
			run++
		}
		last = n
		return false
	})
	return last
}

// A node's operator reaches it through a tunnel: in both directions there are only cells and bursts on the wire, also
// while blocks follow. Other peers of the node are left alone.
func TestShapeTunnel(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startV1Node(t, w)
	far := startInbound(t, node.p2p, "--shape", "127.0.0.1:0=tunnel,every=100ms,fakes=2s", "--status", "127.0.0.1:0")
	farStatus := far.await(t, "the status page", func(e event) bool { return e.Msg == "status page" }).Addr
	wire := startRecorder(t, far.inbound)
	near := startProxy(t, "--shape", "tunnel,every=200ms,fakes=2s", "--status", "127.0.0.1:0")
	nearStatus := near.await(t, "the status page", func(e event) bool { return e.Msg == "status page" }).Addr
	client := startBtcdClient(t, w.params, near.addr, wire.addr)
	catchUp(t, client, node)

	near.awaitShape(t, "tunnel", "agreed")
	far.awaitShape(t, "tunnel", "agreed")
	sentUp := func() int { b, _ := wire.last().bytes(); return len(b) }
	sentDown := func() int { _, b := wire.last().bytes(); return len(b) }
	up, down := aligned(t, "cells up", -1, sentUp), aligned(t, "cells down", -1, sentDown)
	followBlocks(t, client, node, 3)
	node.mine(100)
	catchUp(t, client, node)
	followTransaction(t, client, node, w)
	aligned(t, "after blocks: cells up", up, sentUp)
	aligned(t, "after blocks: cells down", down, sentDown)

	plain := startBtcd(t, "peer", w.params, "--nolisten", "--v2transport", "--connect="+far.inbound)
	catchUp(t, plain, node)
	followBlocks(t, plain, node, 3)
	catchUp(t, client, node)
	tunnelled := shapedSessions(t, nearStatus)
	if len(tunnelled) != 1 {
		t.Fatalf("the sessions of the near proxy are %+v", tunnelled)
	}
	if s := tunnelled[0]; s.Shape != "tunnel" || s.FillerToPeer == 0 || s.FillerFromPeer == 0 {
		t.Errorf("the session is %+v", s)
	}
	sessions := shapedSessions(t, farStatus)
	if len(sessions) != 2 {
		t.Fatalf("the sessions of the far proxy are %+v", sessions)
	}
	for _, s := range sessions {
		want := ""
		if s.SessionID == tunnelled[0].SessionID {
			want = "tunnel"
		}
		if s.Shape != want || (s.FillerToPeer > 0) != (want != "") || (s.FillerFromPeer > 0) != (want != "") {
			t.Errorf("the session is %+v, want the shape %q", s, want)
		}
	}
	requireUnreadable(t, wire.last(), w.params)
}

// A node that does not know of tunnels ignores the offer, and the session continues as with cover.
func TestShapeTunnelNotAgreed(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startBtcdNode(t, w, "--v2transport")
	node.mine(firstTip)
	wire := startRecorder(t, node.p2p)
	p := startProxy(t, "--shape", "tunnel,every=200ms", "--status", "127.0.0.1:0")
	status := p.await(t, "the status page", func(e event) bool { return e.Msg == "status page" }).Addr
	client := startBtcdClient(t, w.params, p.addr, wire.addr)
	catchUp(t, client, node)
	p.awaitShape(t, "cover", "not_agreed")
	sentUp := func() int { b, _ := wire.last().bytes(); return len(b) }
	up := aligned(t, "cells", -1, sentUp)
	followBlocks(t, client, node, 3)
	followTransaction(t, client, node, w)
	aligned(t, "after blocks: cells", up, sentUp)
	if s := shapedSessions(t, status); len(s) != 1 || s[0].Shape != "cover" || s[0].FillerFromPeer > 0 {
		t.Errorf("the sessions are %+v", s)
	}
	if n := len(wire.connections()); n != 1 {
		t.Errorf("%d connections", n)
	}
}
