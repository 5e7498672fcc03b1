package command

import "syscall"

// Winsock's numbers: syscall's own for these are inventions.
const (
	errAccess       = syscall.Errno(10013) // WSAEACCES
	errAddrInUse    = syscall.Errno(10048) // WSAEADDRINUSE
	errAddrNotAvail = syscall.Errno(10049) // WSAEADDRNOTAVAIL
	errFamily       = syscall.Errno(10047) // WSAEAFNOSUPPORT
	errInvalid      = syscall.Errno(10022) // WSAEINVAL
	errNoDevice     = syscall.Errno(10050) // WSAENETDOWN: of an interface that is down
)

// showListeners and showAddresses are commands of the system.
const showListeners, showAddresses = "netstat -ano", "ipconfig"
