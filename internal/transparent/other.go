//go:build !linux && !freebsd

package transparent

import (
	"net"
	"net/netip"
	"syscall"
)

// Supported returns ErrUnsupported.
func Supported() error { return ErrUnsupported }

func destination(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort{}, ErrUnsupported }

const usual = ""

func prepare(syscall.Conn, bool) (string, error) { return usual, ErrUnsupported }

func localAddr(syscall.RawConn) (netip.AddrPort, error) { return netip.AddrPort{}, ErrUnsupported }
