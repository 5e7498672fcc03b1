//go:build !linux || !(amd64 || arm64 || 386 || arm)

package seccomp

import (
	"errors"
	"net/netip"
	"os/exec"
	"runtime"
)

// Supervisor redirects the sockets of a command.
type Supervisor struct{}

// Start returns an UnavailableError: seccomp exists only on Linux.
func Start(*exec.Cmd, Ports) (*Supervisor, error) { return nil, unavailable() }

// Exec returns an UnavailableError: seccomp exists only on Linux.
func Exec([]string) error { return unavailable() }

// RefuseFamilies returns nil: this package has no filter for this architecture.
func RefuseFamilies() error { return nil }

// Destination reports false.
func (s *Supervisor) Destination(netip.AddrPort) (netip.AddrPort, bool) {
	return netip.AddrPort{}, false
}

// Close returns nil.
func (s *Supervisor) Close() error { return nil }

func unavailable() error {
	return &UnavailableError{runtime.GOOS + "/" + runtime.GOARCH, errors.ErrUnsupported}
}
