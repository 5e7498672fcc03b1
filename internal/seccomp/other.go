//go:build !linux || !(amd64 || arm64 || 386 || arm)

package seccomp

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
)

// Supervisor redirects the sockets of a command.
type Supervisor struct{ Sockets }

// New returns an UnavailableError: seccomp exists only on Linux.
func New() (*Supervisor, error) { return nil, unavailable() }

// Start returns an UnavailableError.
func (s *Supervisor) Start(*exec.Cmd) error { return unavailable() }

// Destination returns an UnavailableError.
func (s *Supervisor) Destination(net.Conn) (netip.AddrPort, error) {
	return netip.AddrPort{}, unavailable()
}

// Close does nothing.
func (s *Supervisor) Close() {}

// Exec returns an UnavailableError.
func Exec([]string) error { return unavailable() }

func unavailable() error {
	return &UnavailableError{runtime.GOOS + "/" + runtime.GOARCH, errors.ErrUnsupported}
}
