//go:build !linux

package command

import (
	"errors"
	"os"
	"syscall"
)

// supervise returns an error: run needs Linux.
func supervise(func() (*os.Process, error)) error { return errors.ErrUnsupported }

func endBy(syscall.Signal) {}
