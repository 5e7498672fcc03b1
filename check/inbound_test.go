package check

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"bip324proxy/inbound"
	"bip324proxy/internal/testkit"
	"bip324proxy/proxy"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// startInbound runs bip324-proxy's server in front of a node of mainnet.
func startInbound(t *testing.T, mode fallback.Mode, node string) (addr string) {
	t.Helper()
	server := &proxy.Server{Policy: proxy.Policy{InboundV1: mode}, Log: slog.New(slog.DiscardHandler)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.ServeInbound(l, proxy.Inbound{Node: tcpNode(node), Magic: mainnet})
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return l.Addr().String()
}

func tcpNode(addr string) *inbound.Node { return &inbound.Node{Network: "tcp", Address: addr} }

// Inbound listeners speak v2, and v1 where --inbound-v1 says so; anything else is a failure.
func TestInbound(t *testing.T) {
	node := testkit.Serve(t, v1Peer)
	nobody, mute := testkit.Nobody(t), testkit.Serve(t, closing)
	const (
		speaks = "ok inbound ADDR: it speaks v2, on mainnet; the session id was ID; only programs on this machine can reach it, such as Tor"
		there  = "ok node ADDR: the node answers: /Satoshi:30.0.0/, on mainnet, at block 917231"
	)
	for name, c := range map[string]struct {
		addr  string
		known fallback.Mode
		node  string
		ok    bool
		says  []string
	}{
		"strict":              {startInbound(t, fallback.Never, node), fallback.Never, node, true, []string{speaks, "ok inbound_v1 ADDR: it refuses v1, and sends nothing", there}},
		"overlay":             {startInbound(t, fallback.Overlay, node), fallback.Overlay, node, true, []string{speaks, "ok inbound_v1 ADDR: v1 is allowed from loopback addresses, which Tor and this check use; from others it is refused", there}},
		"always":              {startInbound(t, fallback.Always, node), fallback.Always, node, true, []string{speaks, "warning inbound_v1 ADDR: v1 is allowed: connections of peers without v2 are plaintext", "set --inbound-v1 never", there}},
		"always, not known":   {startInbound(t, fallback.Always, node), fallback.Never, node, false, []string{speaks, "failed inbound_v1 ADDR: it accepts v1, which --inbound-v1 never forbids", there}},
		"strict, not known":   {startInbound(t, fallback.Never, node), fallback.Always, node, true, []string{speaks, "warning inbound_v1 ADDR: it refuses v1, which --inbound-v1 always allows here", there}},
		"no node":             {startInbound(t, fallback.Never, nobody), fallback.Never, nobody, false, []string{speaks, "refuses v1", "failed node ADDR: cannot connect to the node: connection refused"}},
		"silent node":         {startInbound(t, fallback.Never, mute), fallback.Never, mute, false, []string{speaks, "failed node ADDR: the node accepts connections, but does not answer a VERSION of mainnet: the connection was closed", "another network"}},
		"nothing":             {nobody, fallback.Never, node, false, []string{"failed inbound ADDR: nothing is listening there: connection refused", there}},
		"the node itself":     {testkit.Serve(t, v1Peer), fallback.Never, node, false, []string{"failed inbound ADDR: the v2 handshake was cut off", "such as the node itself"}},
		"another v2 listener": {testkit.Serve(t, func(nc net.Conn) { newV2Peer(mainnet).handle(nc) }), fallback.Never, node, true, []string{speaks}},
		"another network":     {testkit.Serve(t, func(nc net.Conn) { newV2Peer(transport.Regtest.Magic).handle(nc) }), fallback.Never, node, false, []string{"failed inbound ADDR: ", "--inbound-network"}},
		"another program":     {testkit.Serve(t, says("220 mail.example ESMTP\r\n"+strings.Repeat("x", 5000))), fallback.Never, node, false, []string{"failed inbound ADDR: it does not speak v2 on mainnet"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Subject{Policy: proxy.Policy{InboundV1: c.known}}
			r := Report{OK: true}
			r.add(s.inbound(within(t), Inbound{Address: c.addr, Node: tcpNode(c.node), Magic: mainnet})...)
			got := text(t, &r)
			for _, says := range c.says {
				if !strings.Contains(got, says) {
					t.Errorf("got %q, want %q in it", got, says)
				}
			}
			if r.OK != c.ok {
				t.Errorf("ok is %v: %s", r.OK, got)
			}
		})
	}
}

// Nothing is asked of a listener whose address is unknown; its node is checked all the same.
func TestInboundSkipped(t *testing.T) {
	node := testkit.Serve(t, v1Peer)
	for _, in := range []Inbound{
		{Address: "systemd:inbound", Activated: true, Node: tcpNode(node), Magic: mainnet},
		{Address: "127.0.0.1:0", Node: tcpNode(node), Magic: mainnet},
	} {
		all := new(Subject).inbound(within(t), in)
		if len(all) != 2 || all[0].State != Skipped || all[1].State != OK {
			t.Errorf("%s: got %+v", in.Address, all)
		}
	}
}

// The node is connected to as a peer's session is: not at a public address, and from the source.
func TestInboundNodeAsPeer(t *testing.T) {
	r := new(Subject).node(within(t), Inbound{Node: tcpNode("224.0.0.1:8333")})
	if r.State != Failed || !strings.Contains(r.What, "is a public address") {
		t.Errorf("got %+v", r)
	}
	node := tcpNode(testkit.Serve(t, silent))
	var err error
	if node.Source, err = inbound.ParseSource("198.18.0.0/15", node); err != nil { // needs a route
		t.Fatal(err)
	}
	if r := new(Subject).node(within(t), Inbound{Node: node}); r.State != Failed || !strings.Contains(r.Hint, "--inbound-source") {
		t.Errorf("from an address that this machine does not have: got %+v", r)
	}
}

// A node that other machines can reach takes plaintext from them.
func TestInboundNodeExposed(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for nc, err := l.Accept(); err == nil; nc, err = l.Accept() {
			go func() {
				defer nc.Close()
				v1Peer(nc)
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if alsoAt(t.Context(), l.Addr().(*net.TCPAddr).Port) == "" {
		t.Skip("this machine has only loopback addresses")
	}
	r := new(Subject).node(within(t), Inbound{Node: tcpNode("127.0.0.1:" + port), Magic: mainnet})
	if r.State != Warning || !strings.Contains(r.What, "where other machines may reach it in plaintext") {
		t.Errorf("got %+v", r)
	}
}
