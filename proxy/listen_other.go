//go:build !unix

package proxy

import (
	"net"
	"syscall"
)

// restrictNewFiles does nothing here: access is up to the directory.
func restrictNewFiles() (restore func()) { return func() {} }

// errNobodyListens is what connecting to a socket file fails with that has been left
// behind. It is Winsock's WSAECONNREFUSED: syscall's own number is an invention.
const errNobodyListens = syscall.Errno(10061)

// listenerOver are the errors of Accept after which there will be no client.
var listenerOver []error

// Activated returns no listeners: there is no systemd here.
func Activated() ([]net.Listener, error) { return nil, nil }
