//go:build !windows

package plain

import "syscall"

var errnos = map[syscall.Errno]string{
	syscall.ECONNREFUSED:  refused,
	syscall.ECONNRESET:    reset,
	syscall.ECONNABORTED:  closed,
	syscall.EPIPE:         closed,
	syscall.ENOTCONN:      closed,
	syscall.EHOSTUNREACH:  noHost,
	syscall.EHOSTDOWN:     noHost,
	syscall.ENETUNREACH:   noRoute,
	syscall.ENETDOWN:      noRoute,
	syscall.ETIMEDOUT:     noAnswer,
	syscall.EADDRNOTAVAIL: noPort,
	syscall.EMFILE:        noFile,
	syscall.ENFILE:        noFile,
	syscall.ENOBUFS:       noMemory,
	syscall.ENOMEM:        noMemory,
	syscall.EINVAL:        invalid,
	syscall.EACCES:        denied,
	syscall.EPERM:         denied,
	syscall.ENOENT:        noSocket,
}
