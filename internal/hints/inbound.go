package hints

import "bip324proxy/proxy"

// ofPeer has what the user can do about a peer's session, or several, that failed in one way.
var ofPeer = map[string]string{
	proxy.KindNode:         "check that the node is running and listens where --inbound says (Bitcoin Core: bind=127.0.0.1:8334); until then no peer can come in",
	proxy.KindInboundFull:  "if the node accepts more, run with a higher --inbound-sessions",
	proxy.KindV1Refused:    "nothing was sent in plaintext; with --announce-v2 newer nodes learn to come in with v2; to let v1 peers in, in plaintext, run with --inbound-v1 always",
	proxy.KindOtherNetwork: "if many peers are on that network, check --inbound-network",
}
