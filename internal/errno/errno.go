// Package errno names the errors of sockets as POSIX does. On Windows the names stand for
// Winsock's numbers: package syscall's constants of these names are made up there, and no
// system call returns them.
package errno

import (
	"errors"
	"slices"
	"syscall"
)

// Is reports whether err is, or wraps, one of errnos.
func Is(err error, errnos ...syscall.Errno) bool {
	return slices.ContainsFunc(errnos, func(errno syscall.Errno) bool { return errors.Is(err, errno) })
}
