//go:build !linux

package inbound

import "syscall"

// prepareBind sets a socket's options before it is bound to an address of a Source.
func prepareBind(string, syscall.RawConn) error { return nil }
