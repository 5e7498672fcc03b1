//go:build !linux

package stream

import "net"

// lowWater has no effect on this system.
type lowWater struct{}

func newLowWater(net.Conn) *lowWater { return nil }

func (*lowWater) await(int) {}
