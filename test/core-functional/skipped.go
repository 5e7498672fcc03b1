package main

// skipped lists the tests that run only if named, and why.
var skipped = map[string]string{
	"feature_dbcrash":       "takes an hour: crashes of the database",
	"feature_pruning":       "takes an hour and needs 4 GB: pruned blocks",
	"wallet_pruning":        "takes long and needs 4 GB: pruned blocks",
	"feature_proxy":         "starts its own proxies and checks which of them is used",
	"p2p_private_broadcast": "starts its own proxy, which redirects the node's connections; this one takes its place",
	"interface_usdt_net":    "needs a kernel with tracepoints, and the program built with them",
	"rpc_net":               "asserts the address that a node connected to, which is a name here",
	"rpc_setban":            "bans the address of an outbound peer, too; Core stores none for a peer reached by name",
	"p2p_permissions":       "gives permissions by the address of an outbound peer; Core stores none for a peer reached by name",
	"feature_anchors":       "looks for addresses of outbound peers in anchors.dat; Core stores none for a peer reached by name",
	"p2p_disconnect_ban":    "bans the address of an outbound peer; Core stores none for a peer reached by name",
	"p2p_v2_encrypted":      "asserts that a peer speaks v1, which speaks v2 here; the node's own v2 passes through",
	"p2p_v2_transport":      "some of its nodes speak v1 only, which the proxy refuses as it should; the v2 of the others passes through",
}

// skippedInbound is the same with -inbound. The proxy connects to the node once it has a peer's VERSION.
var skippedInbound = map[string]string{
	"p2p_bip434_feature":    "asserts what the node logs of a peer that sends FEATURE before VERSION; the proxy ends it",
	"p2p_connection_limits": "fills the node with peers that send no VERSION; the node sees none of them",
	"p2p_leak":              "asserts that the node times out peers that send no VERSION, after 3 s; the proxy does so after 30 s",
	"p2p_timeouts":          "asserts that the node logs connections without a VERSION; it sees none of them",
	"p2p_invalid_messages":  "asserts that half a message arrives; the proxy passes on whole ones",
	"p2p_v2_encrypted":      "asserts that the node sees v2, which ends at the proxy",
	"p2p_v2_transport":      "asserts that the node sees v2, which ends at the proxy, and some of its peers speak v1, which the proxy refuses",
	"p2p_v2_misbehaving":    "asserts what the node logs of v2 handshakes; TestMisbehavingInitiators plays its six peers to the proxy",
}
