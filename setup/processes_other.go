//go:build !linux

package setup

import (
	"net"
	"time"
)

// processes returns none: only Linux lists them in /proc.
func processes() ([]*process, error) { return nil, nil }

// sockets returns none: only Linux lists them in /proc.
func sockets() []socket { return nil }

// isOpen reports whether a program listens on the port on loopback. It connects, and hangs up.
func isOpen(_ []socket, port string) bool {
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), time.Second)
		if err == nil {
			c.Close()
			return true
		}
	}
	return false
}
