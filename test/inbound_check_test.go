package test

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"bip324proxy/test/hostile"
)

// countedNode answers a VERSION, and counts its connections and the bytes that they bring.
func countedNode(t *testing.T) (addr string, conns, received *atomic.Int64) {
	t.Helper()
	conns, received = new(atomic.Int64), new(atomic.Int64)
	addr = listen(t, func(nc *net.TCPConn) {
		conns.Add(1)
		nc.Write(hostile.V1On(regtestMagic, "version", hostile.Version("/node:1/")))
		n, _ := io.Copy(io.Discard, nc)
		received.Add(n)
	})
	return addr, conns, received
}

// check says what the inbound listeners of the running program do, without a session there; and that a node in v1 in its
// place is none. The node gets one VERSION.
func TestCheckInbound(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string][2]string{
		"never":   {"ok", "it refuses v1, and sends nothing"},
		"overlay": {"ok", "v1 is allowed from loopback addresses"},
		"always":  {"warning", "v1 is allowed: connections of peers without v2 are plaintext"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			node, conns, received := countedNode(t)
			p := startInbound(t, node, "--inbound-v1", mode)
			c := check(t, "--listen", p.addr, "--inbound", p.inbound+"="+node, "--inbound-network", "regtest", "--inbound-v1", mode)
			c.require(t, "inbound", "ok", "it speaks v2, on regtest; the session id was ")
			c.require(t, "inbound_v1", want[0], want[1])
			c.require(t, "node", "ok", "the node answers: /node:1/, on regtest, at block")
			if !c.OK {
				t.Error("the check has failed")
			}
			eventually(t, "the check's own connection to the node", func() bool { return received.Load() > 0 })
			p.kill()
			if conns.Load() != 1 || received.Load() > 200 {
				t.Errorf("the node had %d connections and %d bytes, want one of the check, with a VERSION", conns.Load(), received.Load())
			}
			for _, line := range p.out.all() {
				if strings.Contains(line, `"session `) && strings.Contains(line, `"inbound":true`) {
					t.Errorf("the log says %s", line)
				}
			}
		})
	}
	t.Run("the node itself", func(t *testing.T) {
		t.Parallel()
		node, _, _ := countedNode(t)
		p := startProxy(t)
		c := check(t, "--listen", p.addr, "--inbound", node+"=127.0.0.1:9", "--inbound-network", "regtest", "--inbound-source", "none")
		c.require(t, "inbound", "failed", "it does not speak v2 on regtest")
		c.require(t, "node", "failed", "cannot connect to the node")
	})
}
