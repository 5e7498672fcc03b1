package main

import (
	"fmt"
	"regexp"
)

const (
	// maxNodes is the framework's MAX_NODES, how many nodes a test may have.
	maxNodes = 12

	// nodeOffset is how far a node's port is from the one that the framework knows, where the proxy listens; portOffset
	// that of the framework's peers which nodes connect to, whose ports are those of the last nodes.
	nodeOffset, portOffset = 2500, 3750
)

// beforeNodes puts the proxy before every node. It is applied to a copy. The framework finds its own connections in
// getpeerinfo by their address, which the node does not see: any with its user agent will do.
var beforeNodes = []change{
	{"test_framework/util.py", `f.write("port=" + str(p2p_port(n)) + "\n")`, fmt.Sprintf(`f.write("port=" + str(p2p_port(n) + %d) + "\n")`, nodeOffset)},
	{"test_framework/test_node.py", `-bind=0.0.0.0:{p2p_port(self.index)}`, fmt.Sprintf(`-bind=0.0.0.0:{p2p_port(self.index) + %d}`, nodeOffset)},
	{"test_framework/test_node.py", `if peer["addr"] == our_addr_and_port and peer["addrbind"] == dst_addr_and_port]`,
		`if peer["inbound"] and peer["subver"] == P2P_SUBVERSION][:1]`},
	{"test_framework/p2p.py", `p2p_port(MAX_NODES - idx)`, fmt.Sprintf(`p2p_port(MAX_NODES - idx) + %d`, portOffset)},
	{"p2p_permissions.py", `"127.0.0.1:{}".format(p2p_port(1))`, fmt.Sprintf(`"127.0.0.1:{}".format(p2p_port(1) + %d)`, nodeOffset)},
	{"p2p_getaddr_caching.py", `[f"-bind=127.0.0.1:{self.onion_port1}=onion", f"-bind=127.0.0.1:{self.onion_port2}=onion"]`,
		fmt.Sprintf(`[f"-bind=127.0.0.1:{self.onion_port1 + %[1]d}=onion", f"-bind=127.0.0.1:{self.onion_port2 + %[1]d}=onion"]`, nodeOffset)},
}

// comesIn matches tests in which something connects to a node.
var comesIn = regexp.MustCompile(`num_nodes = ([2-9]|1\d)|connect_nodes|add_p2p_connection`)

// skipped returns the tests that run only if named, and why.
func (w *workshop) skipped() map[string]string {
	if w.inbound {
		return skippedInbound
	}
	return skipped
}

// inboundFlags returns what puts the proxy before the nodes of the test number i.
func inboundFlags(i int) (flags []string) {
	for n := range maxNodes {
		port := 11000 + n + maxNodes*i%(5000-1-maxNodes) // as the framework's p2p_port
		flags = append(flags, "--inbound", fmt.Sprintf("127.0.0.1:%d=127.0.0.1:%d", port, port+nodeOffset))
	}
	// Tests know their peers by 127.0.0.1.
	return append(flags, "--inbound-network", "regtest", "--inbound-source", "none")
}
