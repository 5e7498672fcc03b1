package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	serve := func(network, addr string) {
		l := must(net.Listen(network, addr))
		ready()
		answer(l, func(net.Conn) string { return network })
	}
	guests["serve4"] = func() { serve("tcp4", "127.0.0.1:8332") }
	guests["serve6"] = func() { serve("tcp6", "[::1]:8332") }
	guests["full"] = func() { // a listener with a full queue
		fd := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: 8332, Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
			panic(err)
		}
		must(net.Dial("tcp", "127.0.0.1:8332"))
		ready()
		select {}
	}
	guests["greedy"] = func() { // takes all ports that a connection could get
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40009"), 0); err != nil {
			panic(err)
		}
		for port := 40000; port < 40010; port++ {
			must(net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)))
		}
		must(net.Listen("tcp4", "127.0.0.1:8332"))
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: 39999}}
		must(d.Dial("tcp4", "192.0.2.1:8333")).Close()
		select {}
	}
}

func dialAndRead(n *Namespace) (string, error) {
	c, err := n.Dial(context.Background(), 8332)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return strings.TrimSpace(string(b)), err
}

func TestDial(t *testing.T) {
	for name, want := range map[string]string{"serve4": "tcp4", "serve6": "tcp6"} {
		n := newNamespace(t)
		if len(n.Redirected) < 2 && want == "tcp6" {
			continue // the system has no IPv6
		}
		startGuest(t, n, name)
		if got, err := dialAndRead(n); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if _, err := n.Dial(context.Background(), 8333); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("a port without a listener: %v", err)
		}
	}
}

func TestDialMany(t *testing.T) {
	n := newNamespace(t)
	startGuest(t, n, "serve4")
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range 100 {
				if got, err := dialAndRead(n); got != "tcp4" || err != nil {
					t.Errorf("%q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestDialFull(t *testing.T) {
	n := newNamespace(t)
	startGuest(t, n, "full")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for { // a queue has room for one more than it says
		c, err := n.Dial(ctx, 8332)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			return
		}
		defer c.Close()
	}
}

func TestDialAllPortsTaken(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change which ports connections get")
	}
	n := newNamespace(t)
	startGuest(t, n, "greedy")
	if _, err := n.Dial(context.Background(), 8332); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Error(err)
	}
}

func TestDialNotAskedFor(t *testing.T) {
	newNamespace(t)
	n, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.Dial(context.Background(), 8332); err == nil {
		t.Error("no error")
	}
}

// A command may stop the process that makes sockets, which has its user: the namespace ends nevertheless.
func TestCloseStopped(t *testing.T) {
	n := newNamespace(t)
	if err := n.sockets.process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	n.Close() // or the test ends with its timeout
	if err := n.sockets.process.Signal(unix.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("the process is still there: %v", err)
	}
}
