package testkit

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Serve is ServeAt for an address that the system chooses.
func Serve(t testing.TB, handle func(net.Conn)) (addr string) {
	t.Helper()
	return ServeAt(t, "127.0.0.1:0", handle)
}

// ServeAt hands each connection to address, "host:port", to handle, in a goroutine, and
// closes it after that. When the test ends it closes them all, and waits.
func ServeAt(t testing.TB, address string, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[nc] = true
			mu.Unlock()
			running.Go(func() {
				handle(nc)
				nc.Close()
				mu.Lock()
				delete(open, nc)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for nc := range open {
			nc.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// Echo says back whatever it is told.
func Echo(t testing.TB) (addr string) {
	t.Helper()
	return Serve(t, func(nc net.Conn) { io.Copy(nc, nc) })
}

// Nobody is an address that nobody listens on, until the test ends: a connection to
// elsewhere holds its port.
func Nobody(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client.LocalAddr().String()
}
