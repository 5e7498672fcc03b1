//go:build unix

package listen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/listen"
)

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := listen.Open("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	wantSocket(t, path)
	if !listen.IsLocal(l.Addr()) {
		t.Error("the listener is not local")
	}

	// A socket in use is kept.
	if second, err := listen.Open("unix:" + path); !errors.Is(err, syscall.EADDRINUSE) || errors.As(err, new(*listen.SpecError)) {
		t.Errorf("a second listener: got %v, %v", second, err)
	}
	if nc, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first listener is unreachable: %v", err)
	} else {
		nc.Close()
	}

	// A stale one, as after a crash, is replaced.
	l.Close()
	crashed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	crashed.SetUnlinkOnClose(false)
	crashed.Close()
	if l, err = listen.Open("unix:" + path); err != nil {
		t.Fatal(err)
	}
	wantSocket(t, path)
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file still exists: %v", err)
	}
}

// patience is how long a test waits for an expected event.
const patience = 30 * time.Second

func wantSocket(t *testing.T, path string) {
	t.Helper()
	if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("got %v, %v", info, err)
	}
}

// Files other than sockets are never removed, and new files of the process keep their mode.
func TestListenUnixErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		file:                               syscall.EADDRINUSE,
		dir:                                syscall.EADDRINUSE,
		link:                               syscall.EADDRINUSE,
		filepath.Join(dir, "no", "socket"): syscall.ENOENT,
		filepath.Join(file, "socket"):      syscall.ENOTDIR,
		filepath.Join(dir, strings.Repeat("s", 200)): syscall.EINVAL,
	} {
		l, err := listen.Open("unix:" + path)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, %v; want %v", path, l, err, want)
		}
	}
	for path, want := range map[string]string{file: "a regular file", dir: "a directory", link: "a symbolic link"} {
		_, err := listen.Open("unix:" + path)
		if !errors.As(err, new(*listen.FileError)) || err.Error() != path+" is "+want+", not a socket; remove it, or choose another path" {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "precious" || err != nil {
		t.Errorf("the file has %q, %v", b, err)
	}
	after := filepath.Join(dir, "after")
	os.WriteFile(after, nil, 0o644)
	was, _ := os.Stat(file)
	if is, err := os.Stat(after); err != nil || is.Mode() != was.Mode() {
		t.Errorf("new files have mode %v, before %v; %v", is.Mode(), was.Mode(), err)
	}
}

// TestActivatedChild is the process to which TestActivated passes sockets.
func TestActivatedChild(t *testing.T) {
	if os.Getenv("ACTIVATED_CHILD") == "" {
		t.Skip("it runs within TestActivated")
	}
	all, err := listen.Activated()
	fmt.Printf("%d listeners, error %v, environment %q%q%q\n", len(all), err, os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
	for _, l := range all {
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(nc, l.Addr(), l.Name)
		nc.Close()
	}
	again, err := listen.Activated()
	fmt.Printf("then %d, %v\n", len(again), err)
}

func plainFile(t *testing.T) (*os.File, error) { return os.Create(filepath.Join(t.TempDir(), "plain")) }

// boundSocket binds a socket without listening on it.
func boundSocket(kind int) func(*testing.T) (*os.File, error) {
	return func(*testing.T) (*os.File, error) {
		fd, err := syscall.Socket(syscall.AF_INET, kind, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "socket"), syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
}

// connectedTo makes a connection and returns the accepted side.
func connectedTo(network string) func(*testing.T) (*os.File, error) {
	return func(t *testing.T) (*os.File, error) {
		addr := "127.0.0.1:0"
		if network == "unix" {
			addr = filepath.Join(t.TempDir(), "socket")
		}
		l, err := net.Listen(network, addr)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		client, err := net.Dial(network, l.Addr().String())
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { client.Close() })
		nc, err := l.Accept()
		if err != nil {
			return nil, err
		}
		defer nc.Close()
		return nc.(interface{ File() (*os.File, error) }).File()
	}
}

// Sockets are taken as systemd passes them: from descriptor 3 on, and only by the named process.
func TestActivated(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "socket")
	local, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for _, c := range []struct {
		name, set string // in the child's shell
		files     []interface{ File() (*os.File, error) }
		names     [2]string                          // of files
		other     func(*testing.T) (*os.File, error) // another descriptor, not listening
		want      []string
	}{
		{"two", "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b", []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), local.(*net.UnixListener)}, [2]string{"a", "b"}, nil,
			[]string{`2 listeners, error <nil>, environment """"""`, "then 0, <nil>"}},
		{"without names", "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a", []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), local.(*net.UnixListener)}, [2]string{}, nil,
			[]string{`2 listeners, error <nil>, environment """"""`}},
		{"none", "LISTEN_PID= LISTEN_FDS=", nil, [2]string{}, nil, []string{"0 listeners, error <nil>", "then 0, <nil>"}},
		{"another process's", "LISTEN_PID=1 LISTEN_FDS=1", nil, [2]string{}, nil, []string{`0 listeners, error <nil>, environment "1""1"""`}},
		{"zero", "LISTEN_PID=$$ LISTEN_FDS=0", nil, [2]string{}, nil, []string{"0 listeners, error <nil>"}},
		{"no number", "LISTEN_PID=$$ LISTEN_FDS=many", nil, [2]string{}, nil, []string{"0 listeners, error <nil>"}},
		{"no socket", "LISTEN_PID=$$ LISTEN_FDS=1", nil, [2]string{}, plainFile, []string{"0 listeners, error cannot listen on descriptor 3, from systemd"}},
		{"missing", "LISTEN_PID=$$ LISTEN_FDS=1", nil, [2]string{}, nil, []string{"0 listeners, error cannot listen on descriptor 3, from systemd"}},
		{"a connection", "LISTEN_PID=$$ LISTEN_FDS=1", nil, [2]string{}, connectedTo("tcp"), []string{"0 listeners, error descriptor 3, from systemd, is a connection, not a listener; in the .socket unit, write Accept=no"}},
		{"a connection of a unix socket", "LISTEN_PID=$$ LISTEN_FDS=1", nil, [2]string{}, connectedTo("unix"), []string{"0 listeners, error descriptor 3, from systemd, is a connection"}},
		{"only bound", "LISTEN_PID=$$ LISTEN_FDS=1", nil, [2]string{}, boundSocket(syscall.SOCK_STREAM), []string{"0 listeners, error descriptor 3, from systemd, does not listen", "write ListenStream= and Accept=no"}},
		{"a datagram socket", "LISTEN_PID=$$ LISTEN_FDS=1", nil, [2]string{}, boundSocket(syscall.SOCK_DGRAM), []string{"0 listeners, error descriptor 3, from systemd, is not a stream socket; in the .socket unit, write ListenStream="}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			child := exec.CommandContext(ctx, "/bin/sh", "-c", c.set+` exec "$0" -test.run='^TestActivatedChild$'`, os.Args[0])
			child.Env = append(os.Environ(), "ACTIVATED_CHILD=1")
			for _, l := range c.files {
				f, err := l.File()
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				child.ExtraFiles = append(child.ExtraFiles, f)
			}
			if c.other != nil {
				f, err := c.other(t)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				child.ExtraFiles = append(child.ExtraFiles, f)
			}
			var out bytes.Buffer
			child.Stdout, child.Stderr = &out, &out
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			if len(c.files) > 0 {
				for i, addr := range []net.Addr{tcp.Addr(), local.Addr()} {
					nc, err := net.Dial(addr.Network(), addr.String())
					if err != nil {
						t.Fatal(err)
					}
					nc.SetDeadline(time.Now().Add(patience))
					if b, err := io.ReadAll(nc); string(b) != addr.String()+c.names[i] || err != nil {
						t.Errorf("the child listens on %q, %v; want %v%s", b, err, addr, c.names[i])
					}
					nc.Close()
				}
			}
			if err := child.Wait(); err != nil {
				t.Errorf("%v\n%s", err, &out)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the child printed %q, want %q", &out, want)
				}
			}
		})
	}
}
