//go:build !linux

package main

import "net"

// setLowWaterMark has no effect on this system.
func setLowWaterMark(*net.TCPConn, int) {}
