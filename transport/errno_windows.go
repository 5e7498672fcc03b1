package transport

import "syscall"

// Winsock's numbers: syscall's own for these are inventions.
const (
	errReset   = syscall.Errno(10054) // WSAECONNRESET
	errAborted = syscall.Errno(10053) // WSAECONNABORTED
	errPipe    = syscall.Errno(10058) // WSAESHUTDOWN
)
