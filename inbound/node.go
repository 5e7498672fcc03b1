package inbound

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"bip324proxy/internal/dial"
	"bip324proxy/internal/listen"
	"bip324proxy/internal/plain"
	"bip324proxy/rules"
)

const (
	// dialTimeout limits connecting to the node.
	dialTimeout = 5 * time.Second

	// backOffMin and backOffMax are how long after a failure the node is not dialed: the
	// first, and at most.
	backOffMin, backOffMax = time.Second, 30 * time.Second
)

// Node is the node behind a listener for peers.
type Node struct {
	Network string  // "tcp" or "unix"
	Address string  // HOST:PORT, or the path of a socket
	Source  *Source // nil: the system chooses

	mu      sync.Mutex
	failure *NodeError // of the last attempt; nil if that succeeded
	since   time.Time  // of the first of the failures
	backOff time.Duration
	until   time.Time // the end of backOff
	trying  bool      // an attempt after a failure runs
}

// String returns the address as settings have it.
func (n *Node) String() string {
	if n.Network == "unix" {
		return "unix:" + n.Address
	}
	return n.Address
}

// literal returns the address that the settings have; ok is false if that is a name or a
// path.
func (n *Node) literal() (ip netip.Addr, port uint16, ok bool) {
	addr, err := netip.ParseAddrPort(n.Address)
	return addr.Addr().Unmap(), addr.Port(), n.Network != "unix" && err == nil
}

// isLoopback4 reports whether the node has an IPv4 address on loopback.
func (n *Node) isLoopback4() bool {
	if ip, _, ok := n.literal(); ok {
		return ip.Is4() && ip.IsLoopback()
	}
	host, _, err := net.SplitHostPort(n.Address)
	return n.Network != "unix" && err == nil && dial.IsLocalhost(host)
}

// PublicNodeError reports a node with a public address.
type PublicNodeError struct {
	IP netip.Addr
}

func (e *PublicNodeError) Error() string {
	return fmt.Sprintf("%s is a public address, and v1 would cross the internet in plaintext; "+
		"the node's address must be on loopback or in a private network", e.IP)
}

// Check returns an error if the node has a public address: v1 would cross the internet.
// Names are checked when they are looked up.
func (n *Node) Check() error {
	if ip, _, ok := n.literal(); ok && !mayBeNode(ip) {
		return &PublicNodeError{ip}
	}
	return nil
}

// relays6to4 are addresses of deprecated relays to the IPv6 internet.
var relays6to4 = netip.MustParsePrefix("192.88.99.0/24")

// mayBeNode reports whether v1 with ip stays on this machine or in a private network. To
// deny an IPv6 address, package rules counts one as private that embeds a private IPv4
// address; but it is reached through a public network, or a translator or tunnel in one.
func mayBeNode(ip netip.Addr) bool {
	if ip = ip.Unmap(); ip.Is4() {
		return rules.IsPrivate(ip) && !ip.IsMulticast() && !relays6to4.Contains(ip)
	}
	return ip.IsLoopback() || ip.IsUnspecified() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
}

// ListensAt reports whether connections to the node reach a listener at addr, one of this
// program. It looks up the node's name, if it has one.
func (n *Node) ListensAt(addr net.Addr) bool {
	if n.Network == "unix" {
		return listen.Accepts(addr, &net.UnixAddr{Name: n.Address, Net: "unix"})
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	ips, port, err := n.resolve(ctx)
	return err == nil && slices.ContainsFunc(ips, func(ip netip.Addr) bool {
		return listen.Accepts(addr, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
	})
}

// NodeError reports a node that cannot be connected to.
type NodeError struct {
	Node   string
	Source *Source // that was bound to; nil if the system chose
	Err    error
}

func (e *NodeError) Error() string {
	return "cannot connect to the node at " + e.Node + ": " + plain.Words(e.Err)
}
func (e *NodeError) Unwrap() error { return e.Err }

// Down returns the *NodeError of the last attempt while the Node backs off,
// else nil.
func (n *Node) Down() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failure != nil && (n.trying || time.Now().Before(n.until)) {
		return n.failure
	}
	return nil
}

// Attempt is what a call of Dial has changed.
type Attempt struct {
	Down bool          // the node was up, or not dialed yet, and this attempt failed
	Back time.Duration // the attempt succeeded after the node was down for that long
}

// Dial connects to the node for a peer. The error is a *NodeError, the last one at once
// while the node is down. After a failure one attempt at a time is made, later and later.
func (n *Node) Dial(ctx context.Context, peer netip.Addr) (net.Conn, Attempt, error) {
	if err := n.begin(); err != nil {
		return nil, Attempt{}, err
	}
	attempt, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := n.connect(attempt, peer)
	if err != nil {
		failure := &NodeError{n.String(), n.Source, err}
		return nil, n.end(failure, ctx.Err() == nil), failure
	}
	return conn, n.end(nil, true), nil
}

// begin begins an attempt, or returns the last failure if it is too early for one.
func (n *Node) begin() error {
	if err := n.Down(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.trying {
		return n.failure // another attempt began meanwhile
	}
	n.trying = n.failure != nil
	return nil
}

// end records how an attempt ended; counts is false if that says nothing about the node.
func (n *Node) end(failure *NodeError, counts bool) (changed Attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trying = false
	now := time.Now()
	switch {
	case !counts:
	case failure == nil && n.failure != nil:
		changed.Back = max(now.Sub(n.since), 1)
		n.failure, n.backOff = nil, 0
	case failure != nil && now.Before(n.until): // of several that began while the node was up
	case failure != nil:
		if n.failure == nil {
			changed.Down, n.since = true, now
		}
		n.failure = failure
		n.backOff = min(max(2*n.backOff, backOffMin), backOffMax)
		n.until = now.Add(n.backOff)
	}
	return changed
}

// connect connects to the node.
func (n *Node) connect(ctx context.Context, peer netip.Addr) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if n.Network == "unix" {
		return d.DialContext(ctx, "unix", n.Address)
	}
	ips, port, err := n.resolve(ctx)
	if err != nil {
		return nil, err
	}
	n.Source.bind(&d, peer)
	return dial.First(ctx, ips, func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", netip.AddrPortFrom(ip, port).String())
	})
}

// resolve returns the addresses that the node may be connected to at: those of its name
// that are not public, and of the source's family.
func (n *Node) resolve(ctx context.Context) (ips []netip.Addr, port uint16, err error) {
	if ip, port, ok := n.literal(); ok {
		return []netip.Addr{ip}, port, n.Check()
	}
	host, digits, err := net.SplitHostPort(n.Address)
	if err != nil {
		return nil, 0, err
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return nil, 0, err
	}
	all, err := dial.Lookup(ctx, host)
	if err != nil {
		return nil, 0, err
	}
	err = fmt.Errorf("%s has no address of the family of %s, the setting inbound-source", host, n.Source)
	for _, ip := range all {
		switch {
		case !mayBeNode(ip):
			err = &PublicNodeError{ip}
		case n.Source == nil || n.Source.prefix.Addr().Is4() == ip.Is4():
			ips = append(ips, ip)
		}
	}
	if len(ips) == 0 {
		return nil, 0, err
	}
	return ips, uint16(number), nil
}
