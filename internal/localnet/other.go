//go:build !linux

package localnet

import "net/netip"

// routedLocally reports false: only Linux is asked for routes.
func routedLocally(netip.Addr) (bool, error) { return false, nil }

// routers returns none: only Linux is asked for routes.
func routers() ([]netip.Addr, error) { return nil, nil }
