package main

// skipped lists the tests that run only if named, and why.
var skipped = map[string]string{
	"feature_dbcrash":    "takes an hour: crashes of the database",
	"feature_pruning":    "takes an hour and 4 GB: pruned blocks",
	"wallet_pruning":     "takes long and 4 GB: pruned blocks",
	"feature_proxy":      "has proxies of its own, and checks which of them is used",
	"interface_usdt_net": "needs a kernel with tracepoints, and the program built with them",
	"rpc_net":            "asserts the address that a node has connected to, which is a name here",
	"p2p_disconnect_ban": "bans the address of a peer that the node has connected to: reached by name, it has none in Core",
	"p2p_v2_encrypted":   "asserts that a peer speaks v1, which the proxy would refuse; what the node itself says in v2 passes through",
	"p2p_v2_transport":   "some of its nodes speak v1 only, and those the proxy refuses, as it should; the others' own v2 passes through",
}
