//go:build !windows

package transport

import "syscall"

// What a socket fails with when the remote end has closed or reset it.
const (
	errReset   = syscall.ECONNRESET
	errAborted = syscall.ECONNABORTED
	errPipe    = syscall.EPIPE
)
