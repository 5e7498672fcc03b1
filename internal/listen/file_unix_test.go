//go:build unix

package listen_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"bip324proxy/internal/listen"
)

// bindSocket binds a socket file of any type without listening on it.
func bindSocket(t *testing.T, path string, kind int) (fd int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, kind, 0)
	if err != nil {
		t.Skipf("not run: %v", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// Another program's socket, of any type, is kept for as long as that program lives, and then
// replaced.
func TestListenUnixOtherSockets(t *testing.T) {
	for name, c := range map[string]struct {
		kind    int
		listens bool
	}{
		"datagram":                {syscall.SOCK_DGRAM, false},
		"seqpacket":               {syscall.SOCK_SEQPACKET, true},
		"stream":                  {syscall.SOCK_STREAM, true},
		"seqpacket, only bound":   {syscall.SOCK_SEQPACKET, false},
		"stream that is not read": {syscall.SOCK_STREAM, false},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS != "linux" && !c.listens && c.kind != syscall.SOCK_DGRAM {
				t.Skip("not run: only Linux can tell that it is in use")
			}
			path := filepath.Join(t.TempDir(), "socket")
			fd := bindSocket(t, path, c.kind)
			if c.listens {
				if err := syscall.Listen(fd, 1); err != nil {
					t.Fatal(err)
				}
			}
			made, _ := os.Lstat(path)
			if l, err := listen.Open("unix:" + path); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("the socket in use was replaced: %v, %v", l, err)
			}
			if now, err := os.Lstat(path); err != nil || !os.SameFile(made, now) {
				t.Errorf("the file: %v", err)
			}
			syscall.Close(fd)
			l, err := listen.Open("unix:" + path)
			if err != nil {
				t.Fatalf("the stale socket: %v", err)
			}
			wantSocket(t, path)
			l.Close()
		})
	}
}

// Closing a listener removes its own file, but no later file in its place.
func TestListenUnixEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	first, err := listen.Open("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	second, err := listen.Open("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	first.Close()
	wantSocket(t, path)
	if nc, err := net.Dial("unix", path); err != nil {
		t.Errorf("the second listener is unreachable: %v", err)
	} else {
		nc.Close()
	}
	os.Remove(path)
	os.WriteFile(path, []byte("precious"), 0o600)
	second.Close()
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the other file: got %q, %v", b, err)
	}
}

// Of many listeners that start at the same moment one succeeds and is reachable, with or without a
// stale file. (Within one process; test/ has several.)
func TestListenUnixAtOnce(t *testing.T) {
	for range 50 {
		for _, stale := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "socket")
			if stale {
				syscall.Close(bindSocket(t, path, syscall.SOCK_STREAM))
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			var listening []net.Listener
			begin := make(chan struct{})
			for range 8 {
				wg.Go(func() {
					<-begin
					l, err := listen.Open("unix:" + path)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						listening = append(listening, l)
					} else if !errors.Is(err, syscall.EADDRINUSE) {
						t.Error(err)
					}
				})
			}
			close(begin)
			wg.Wait()
			if len(listening) != 1 {
				t.Fatalf("%d listeners, want 1", len(listening))
			}
			if nc, err := net.Dial("unix", path); err != nil {
				t.Errorf("the listener is unreachable: %v", err)
			} else {
				nc.Close()
			}
			listening[0].Close()
		}
	}
}
