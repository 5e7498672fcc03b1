package socks

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A proxy that does not accept the connection is given up after ConnectTimeout, by address and by
// name, whatever the request's deadline.
func TestUpstreamConnectTimeout(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(name.(*syscall.SockaddrInet4).Port)
	for range 4 { // until the backlog is full
		if c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, 200*time.Millisecond); err == nil {
			defer c.Close()
		}
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		up, err := ParseUpstream("socks5://" + host + ":" + port)
		if err != nil {
			t.Fatal(err)
		}
		up.ConnectTimeout = 300 * time.Millisecond
		began := time.Now()
		conn, err := up.Dial(t.Context(), addr("node.example", 8333), Credentials{})
		var uerr *UpstreamError
		if conn != nil || !errors.As(err, &uerr) || uerr.Stage != StageDial {
			t.Errorf("%s: got %v, %v", host, conn, err)
		}
		if took := time.Since(began); took < 250*time.Millisecond || took > 30*time.Second {
			t.Errorf("%s: it took %v", host, took)
		}
	}
}
