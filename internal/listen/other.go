//go:build !unix

package listen

import (
	"net"
	"syscall"
)

// restrictNewFiles does nothing here: access is up to the directory.
func restrictNewFiles() (restore func()) { return func() {} }

// errNobodyListens is the error of connecting to a stale socket file: Winsock's
// WSAECONNREFUSED, for syscall's own number is an invention.
const errNobodyListens = syscall.Errno(10061)

// noAddress holds the errors of listening on an address that this machine does not have:
// WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT.
var noAddress = []error{syscall.Errno(10049), syscall.Errno(10047)}

// listenerOver holds the errors of Accept that cannot pass: none that is known.
var listenerOver []error

// Activated returns no listeners: there is no systemd here.
func Activated() ([]net.Listener, error) { return nil, nil }
