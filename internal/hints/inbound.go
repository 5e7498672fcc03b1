package hints

import (
	"errors"
	"fmt"

	"bip324proxy/inbound"
	"bip324proxy/internal/errno"
	"bip324proxy/proxy"
	"bip324proxy/v1v2"
)

// ofPeer has, by kind, what the user can do about inbound sessions that failed.
var ofPeer = map[string]string{
	proxy.KindNode:         "check that the node is running and listens where --inbound says (Bitcoin Core: bind=127.0.0.1:8335); until then inbound peers are refused",
	proxy.KindInboundFull:  "if the node accepts more peers, run with a higher --inbound-sessions",
	proxy.KindV1Refused:    "nothing was sent in plaintext; --announce-v2 tells newer nodes to use v2; to accept v1 peers, in plaintext, run with --inbound-v1 always",
	proxy.KindOtherNetwork: "if many peers are on that network, check --inbound-network",
}

// peer returns the hint about an inbound session that failed.
func peer(f proxy.Failure) string {
	var node *inbound.NodeError
	switch {
	case f.Kind == proxy.KindNode && errors.As(f.Err, new(*v1v2.EndError)):
		return "see the node's log; it may be full, be on another network than --inbound-network, or have banned the source address; or it is not a Bitcoin node"
	case !errors.As(f.Err, &node):
	case errors.As(node, new(*inbound.PublicNodeError)):
		return "write a NODE on loopback or a private network in --inbound"
	case node.Source != nil && errno.Is(node, errno.EADDRNOTAVAIL, errno.EINVAL):
		return fmt.Sprintf("this machine does not have the addresses of --inbound-source, or cannot connect to the node from them; run, as root: ip route add local %s dev lo", node.Source)
	case errno.Is(node, errno.EMFILE):
		return "raise the file descriptor limit (ulimit -n)"
	}
	return ofPeer[f.Kind]
}
