package socks

import "syscall"

// Winsock's numbers: what syscall calls ECONNREFUSED and so on here are
// inventions that no system call returns.
const (
	errConnRefused = syscall.Errno(10061) // WSAECONNREFUSED
	errHostUnreach = syscall.Errno(10065) // WSAEHOSTUNREACH
	errHostDown    = syscall.Errno(10064) // WSAEHOSTDOWN
	errNetUnreach  = syscall.Errno(10051) // WSAENETUNREACH
	errNetDown     = syscall.Errno(10050) // WSAENETDOWN
	errTimedOut    = syscall.Errno(10060) // WSAETIMEDOUT
)
