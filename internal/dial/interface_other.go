//go:build !linux && !darwin

package dial

import (
	"errors"
	"syscall"
)

// HasInterfaces reports whether ThroughInterface works on this system.
const HasInterfaces = false

// ThroughInterface returns an error: this system routes by address alone.
func ThroughInterface(syscall.RawConn, string, string) error { return errors.ErrUnsupported }
