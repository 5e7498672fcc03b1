//go:build !linux

package proxy

import "net/netip"

// routedLocally is for routes beside the interfaces' own networks, which only Linux
// is asked for.
func routedLocally(netip.Addr) (bool, error) { return false, nil }
