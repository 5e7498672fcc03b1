// Package netns runs a command in a network namespace whose only way out is this program.
//
//	this program                          the namespace: every address is its own
//	Namespace.Redirected  <- sockets --   TCP to any address, redirected by nftables
//	Namespace.DNS         <- sockets --   UDP to port 53 of any address
//	Namespace.Dial        -- sockets ->   ports on which the command listens
//
// A socket stays in the namespace where it was made, wherever the process is that uses it. So
// [New] starts this program once more in a new namespace, the holder: [Hold]. That sets up the
// namespace, makes the sockets and passes them out. [Namespace.Start] then has the holder drop
// its capabilities and execute the command, which is so a child of this process from the start,
// with its files, terminal and process group. Only for [Namespace.Dial] another process stays
// inside, without a capability, to make sockets.
//
// When this process ends, its listeners do, too. The command has no other way out.
package netns

import (
	"net"
	"net/netip"
	"os"
)

// HolderCommand is the first argument of the program to run as the holder, with [Hold].
const HolderCommand = "netns-holder"

// Addr and Addr6 are the namespace's addresses besides loopback, in ranges for benchmarks (RFC
// 2544 and 5180): resolvers look up only addresses of families of which the system has more
// than loopback. A namespace has Addr6 if this system can reach IPv6 addresses.
var (
	Addr  = netip.MustParseAddr("198.18.0.1")
	Addr6 = netip.MustParseAddr("2001:2::1")
)

// Options are what a namespace is made for.
type Options struct {
	Dial bool // [Namespace.Dial] is needed
}

// Error reports a step that failed.
type Error struct {
	Step string // such as "create a network namespace"
	Err  error
	Help string // what to do about it, if that is known
}

func (e *Error) Error() string {
	text := "cannot " + e.Step + ": " + e.Err.Error()
	if e.Help != "" {
		text += "; " + e.Help
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Namespace is a network namespace.
type Namespace struct {
	// Redirected are the listeners where the TCP connections of the namespace arrive, those to
	// port 53 of its own addresses included: one for IPv4 and, if the system has IPv6, one for
	// that.
	Redirected []net.Listener

	// DNS are the UDP sockets of port 53, for any address, of the same families.
	DNS []*net.UDPConn

	holder  *os.Process // until the command has started
	control *control    // to the holder
	sockets *socketMaker
}
