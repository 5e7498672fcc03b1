// Package plain puts errors of sockets and resolvers into plain words.
package plain

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"bip324proxy/internal/errno"
)

// Words returns what happened to a connection, without the address, the system call and
// other terms for programmers. For an error that is not of a socket or a resolver it
// returns err.Error().
func Words(err error) string {
	switch err {
	case nil:
		return "no error"
	case io.EOF:
		return "the connection was closed"
	case io.ErrUnexpectedEOF:
		return "the connection was closed prematurely"
	}
	switch e := err.(type) {
	case *net.DNSError:
		return resolving(e)
	case *net.OpError:
		if errors.Is(e, context.Canceled) {
			return Words(context.Canceled)
		}
		return Words(e.Err)
	case *os.SyscallError:
		return Words(e.Err)
	case syscall.Errno:
		if words, ok := errnos[e]; ok {
			return words
		}
	}
	switch timeout, ok := err.(interface{ Timeout() bool }); {
	case err == net.ErrClosed:
		return "the connection was closed locally"
	case err == context.Canceled:
		return "canceled"
	case ok && timeout.Timeout():
		return noAnswer
	}
	return err.Error()
}

func resolving(e *net.DNSError) string {
	switch {
	case e.IsNotFound && e.UnwrapErr != nil: // not package net's
		return e.UnwrapErr.Error()
	case e.IsNotFound:
		return "the name has no address"
	case e.IsTimeout:
		return "the DNS server did not answer in time"
	}
	return "the DNS server is unreachable or failed"
}

const (
	refused  = "connection refused"
	reset    = "the connection was reset"
	closed   = "the connection was closed"
	noHost   = "the host is unreachable"
	noRoute  = "no route to its network"
	noAnswer = "no answer in time"
	noPort   = "no local address or port is available"
	noFile   = "too many open files and connections"
	noMemory = "the system is out of memory"
	invalid  = "this machine cannot reach such an address"
	denied   = "not permitted, by a firewall or this user's permissions"
	noSocket = "no such socket"
)

// errnos holds the words for errors of sockets.
var errnos = map[syscall.Errno]string{
	errno.ECONNREFUSED:  refused,
	errno.ECONNRESET:    reset,
	errno.ECONNABORTED:  closed,
	errno.EPIPE:         closed,
	errno.ENOTCONN:      closed,
	errno.EHOSTUNREACH:  noHost,
	errno.EHOSTDOWN:     noHost,
	errno.ENETUNREACH:   noRoute,
	errno.ENETDOWN:      noRoute,
	errno.ETIMEDOUT:     noAnswer,
	errno.EADDRNOTAVAIL: noPort,
	errno.EADDRINUSE:    noPort, // of a dial: no port is left
	errno.EMFILE:        noFile,
	syscall.ENFILE:      noFile,
	errno.ENOBUFS:       noMemory,
	syscall.ENOMEM:      noMemory,
	errno.EINVAL:        invalid,
	errno.EACCES:        denied,
	syscall.EPERM:       denied,
	syscall.ENOENT:      noSocket,
}

// IsNoRoute reports whether errno says that this machine has no route to a network.
func IsNoRoute(errno syscall.Errno) bool { return errnos[errno] == noRoute }

// IsLocal reports whether the cause of errno is this machine: its limits or permissions.
func IsLocal(errno syscall.Errno) bool {
	switch errnos[errno] {
	case noPort, noFile, noMemory, denied:
		return true
	}
	return false
}
