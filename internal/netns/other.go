//go:build !linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
)

type (
	control     struct{}
	socketMaker struct{}
)

var errUnsupported = fmt.Errorf("network namespaces exist on Linux only, not on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// New returns an error: the system has no network namespaces.
func New(Options) (*Namespace, error) { return nil, errUnsupported }

// Start returns an error.
func (n *Namespace) Start(string, []string) (*os.Process, error) { return nil, errUnsupported }

// Dial returns an error.
func (n *Namespace) Dial(context.Context, uint16) (net.Conn, error) { return nil, errUnsupported }

// Close does nothing.
func (n *Namespace) Close() error { return nil }

// Hold returns an error.
func Hold() error { return errUnsupported }
