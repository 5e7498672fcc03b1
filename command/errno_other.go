//go:build !windows

package command

import (
	"runtime"
	"syscall"
)

const (
	errAccess       = syscall.EACCES
	errAddrInUse    = syscall.EADDRINUSE
	errAddrNotAvail = syscall.EADDRNOTAVAIL
	errFamily       = syscall.EAFNOSUPPORT
	errInvalid      = syscall.EINVAL
	errNoDevice     = syscall.ENODEV
)

// showListeners and showAddresses are commands of the system.
var showListeners, showAddresses = func() (listeners, addresses string) {
	switch runtime.GOOS {
	case "linux":
		return "ss -ltnp", "ip address"
	case "freebsd":
		return "sockstat -l", "ifconfig"
	}
	return "lsof -nP -iTCP -sTCP:LISTEN", "ifconfig"
}()
