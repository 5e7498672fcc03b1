//go:build amd64 || arm64 || 386 || arm

package seccomp

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// programs run with their sockets redirected.
var programs = map[string]func(args []string) error{
	"dial":     dial,
	"blocking": connectBlocking,
}

// dial connects through package net, which does not block, and writes the first line it
// receives.
func dial(args []string) error {
	for _, addr := range args {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Print(line)
		c.Close()
	}
	return nil
}

// connectBlocking connects a blocking socket of the domain args[0] and writes what it receives.
func connectBlocking(args []string) error {
	domain := unix.AF_INET
	if args[0] == "6" {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	addr := netip.MustParseAddrPort(args[1])
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(addr.Port())}
	if domain == unix.AF_INET6 {
		to = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	} else {
		to.(*unix.SockaddrInet4).Addr = addr.Addr().As4()
	}
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	fmt.Print(string(b[:max(n, 0)]))
	return err
}
