//go:build !linux

package proxy

import "net/netip"

// routers returns none: only Linux is asked for them.
func routers() ([]netip.Addr, error) { return nil, nil }
