// Package plain says in plain words what package net and the system say in their own.
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

// Words returns what happened to a connection, without an address, a system call or
// anything else that only programmers read. An error that does not come from a socket or
// a resolver has its own words.
func Words(err error) string {
	switch err {
	case nil:
		return "nothing went wrong"
	case io.EOF:
		return "the connection was closed"
	case io.ErrUnexpectedEOF:
		return "the connection was closed before all had come"
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
		return "the connection was closed from here"
	case err == context.Canceled:
		return "given up"
	case ok && timeout.Timeout():
		return noAnswer
	}
	return err.Error()
}

func resolving(e *net.DNSError) string {
	switch {
	case e.IsNotFound && e.UnwrapErr != nil: // not package net's: it says more
		return e.UnwrapErr.Error()
	case e.IsNotFound:
		return "the name has no address"
	case e.IsTimeout:
		return "the name server did not answer in time"
	}
	return "the name server cannot be reached or failed"
}

const (
	refused  = "connection refused"
	reset    = "the connection was reset"
	closed   = "the connection was closed"
	noHost   = "the host cannot be reached"
	noRoute  = "there is no route to its network"
	noAnswer = "no answer in time"
	noPort   = "this machine has no local address or port left for it"
	noFile   = "this process has too many files and connections open"
	noMemory = "the system has no memory left for it"
	invalid  = "this machine has no way to such an address"
	denied   = "this machine does not permit it (a firewall, or the rights of this user)"
	noSocket = "there is no such socket"
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

// IsNoRoute reports whether errno says that this machine has no way to a network.
func IsNoRoute(errno syscall.Errno) bool { return errnos[errno] == noRoute }

// IsLocal reports whether errno is about what this machine has or permits.
func IsLocal(errno syscall.Errno) bool {
	switch errnos[errno] {
	case noPort, noFile, noMemory, denied:
		return true
	}
	return false
}
