//go:build !windows

package socks

import "syscall"

const (
	errConnRefused = syscall.ECONNREFUSED
	errHostUnreach = syscall.EHOSTUNREACH
	errHostDown    = syscall.EHOSTDOWN
	errNetUnreach  = syscall.ENETUNREACH
	errNetDown     = syscall.ENETDOWN
	errTimedOut    = syscall.ETIMEDOUT
)
