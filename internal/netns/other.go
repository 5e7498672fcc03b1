//go:build !linux

package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
)

type control struct{}

// New returns an error: the system has no network namespaces.
func New() (*Namespace, error) {
	return nil, fmt.Errorf("run needs the network namespaces of Linux, which %s does not have: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Start is for Linux.
func (n *Namespace) Start([]string) (*os.Process, error) { return nil, errors.ErrUnsupported }

// Dial is for Linux.
func (n *Namespace) Dial(uint16) (net.Conn, error) { return nil, errors.ErrUnsupported }

// Close is for Linux.
func (n *Namespace) Close() error { return nil }

// Hold is for Linux.
func Hold() error { return errors.ErrUnsupported }
