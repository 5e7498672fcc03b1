//go:build !linux

package localnet

import "net/netip"

// routedLocally is for routes beside the interfaces' own networks, which only Linux
// is asked for.
func routedLocally(netip.Addr) (bool, error) { return false, nil }

// routers returns none: only Linux is asked for them.
func routers() ([]netip.Addr, error) { return nil, nil }
