//go:build !linux

package proxy_test

// openSockets counts no sockets where /proc does not list them.
func openSockets(func(addr string) bool) int { return 0 }
