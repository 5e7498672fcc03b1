// Package netns runs a command in a network namespace from which nothing leaves but what this
// program lets out.
//
// A process inside, the holder, is this program once more: [Hold]. It sets up the namespace,
// where every address is the namespace's, and TCP connections to any are redirected to
// listeners that it passes out to this process. A socket stays in its namespace, whoever
// accepts on it. Then the holder starts the command, as a child of this process. When this
// process ends, its listeners do, too: the command is cut off, and has no other way out.
package netns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
)

// HolderCommand is the name of the hidden command of the program that calls [Hold].
const HolderCommand = "netns-holder"

// Addr is the namespace's IPv4 address besides 127.0.0.1, in a range for benchmarks (RFC 2544):
// resolvers look up only addresses of families of which the machine has more than loopback.
var Addr = netip.AddrFrom4([4]byte{198, 18, 0, 1})

// Error reports a step in setting up a namespace that failed.
type Error struct {
	Step string // such as "create a user namespace"
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("cannot %s: %v", e.Step, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Namespace is a network namespace.
type Namespace struct {
	// Redirected are the listeners where the TCP connections of the namespace arrive, one for
	// IPv4 and, if the system has IPv6, one for that.
	Redirected []net.Listener

	// DNS are the namespace's UDP sockets of port 53, at any address.
	DNS []*net.UDPConn

	holder  *os.Process
	control *control
}
