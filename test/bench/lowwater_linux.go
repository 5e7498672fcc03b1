package main

import (
	"net"
	"syscall"
)

// setLowWaterMark sets how many bytes must have arrived before the kernel wakes a reader of conn.
func setLowWaterMark(conn *net.TCPConn, n int) {
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n) })
	}
}
