//go:build !windows

package errno

import "syscall"

const (
	EACCES        = syscall.EACCES
	EADDRINUSE    = syscall.EADDRINUSE
	EADDRNOTAVAIL = syscall.EADDRNOTAVAIL
	EAFNOSUPPORT  = syscall.EAFNOSUPPORT
	ECONNABORTED  = syscall.ECONNABORTED
	ECONNREFUSED  = syscall.ECONNREFUSED
	ECONNRESET    = syscall.ECONNRESET
	EHOSTDOWN     = syscall.EHOSTDOWN
	EHOSTUNREACH  = syscall.EHOSTUNREACH
	EINVAL        = syscall.EINVAL
	EMFILE        = syscall.EMFILE
	ENETDOWN      = syscall.ENETDOWN
	ENETUNREACH   = syscall.ENETUNREACH
	ENOBUFS       = syscall.ENOBUFS
	ENODEV        = syscall.ENODEV
	ENOTCONN      = syscall.ENOTCONN
	EPIPE         = syscall.EPIPE
	ETIMEDOUT     = syscall.ETIMEDOUT
)
