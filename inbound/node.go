package inbound

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// dialTimeout limits connecting to the node.
const dialTimeout = 5 * time.Second

// Node is the node that peers are let in to.
type Node struct {
	Network string  // "tcp" or "unix"
	Address string  // HOST:PORT, or the path of a socket
	Source  *Source // nil: the system chooses
}

// String returns the address as settings have it.
func (n *Node) String() string {
	if n.Network == "unix" {
		return "unix:" + n.Address
	}
	return n.Address
}

// Check returns an error if the node has a public address: v1 would cross the internet.
// Names are checked when they are looked up.
func (n *Node) Check() error { return nil }

// ListensAt reports whether connections to the node reach a listener at addr, one of this
// program. It looks up the node's name, if it has one.
func (n *Node) ListensAt(addr net.Addr) bool { return false }

// NodeError reports a node that cannot be connected to.
type NodeError struct {
	Node string
	Err  error
}

func (e *NodeError) Error() string {
	return "cannot connect to the node at " + e.Node + ": " + e.Err.Error()
}
func (e *NodeError) Unwrap() error { return e.Err }

// Down returns a *NodeError while the node is not to be dialed because that has just failed,
// else nil.
func (n *Node) Down() error { return nil }

// Dial connects to the node for a peer. The error is a *NodeError.
func (n *Node) Dial(ctx context.Context, peer netip.Addr) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	n.Source.bind(&d, peer)
	conn, err := d.DialContext(ctx, n.Network, n.Address)
	if err != nil {
		return nil, &NodeError{n.String(), err}
	}
	return conn, nil
}
