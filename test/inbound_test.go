package test

import (
	"runtime"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// inboundProxy is the proxy in front of a node.
type inboundProxy struct {
	*proxy
	inbound string // where peers reach the node
}

// startInbound runs the proxy in front of the node that listens at an address.
func startInbound(t *testing.T, node string, flags ...string) *inboundProxy {
	t.Helper()
	p := &inboundProxy{proxy: startProxy(t, slices.Concat(inboundFlags(node, "regtest"), flags)...)}
	p.inbound = p.await(t, "listening for peers", func(e event) bool { return e.Msg == "listening" && e.Inbound }).Addr
	return p
}

// inboundFlags has the flags of a listener for peers in front of the node that listens at an address.
func inboundFlags(node, network string) []string {
	flags := []string{"--inbound", "127.0.0.1:0=" + node, "--inbound-network", network}
	if runtime.GOOS != "linux" {
		flags = append(flags, "--inbound-source", "none")
	}
	return flags
}

// A btcd that speaks v2 connects to one that does not, and both get each other's blocks.
func TestInboundBtcd(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startV1Node(t, w)
	p := startInbound(t, node.p2p)
	peer := startBtcd(t, "peer", w.params, "--nolisten", "--v2transport", "--connect="+p.inbound)
	catchUp(t, peer, node)
	followBlocks(t, peer, node, 3)
	opened := p.opened(t)
	if !opened.Inbound || opened.Transport != "v2" || opened.SessionID == "" {
		t.Errorf("the session is %+v", opened)
	}
}
