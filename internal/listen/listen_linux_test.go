package listen_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"bip324proxy/internal/listen"
)

// A socket with a full backlog is in use, too. Other systems do not show the difference.
func TestListenUnixBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	os.Chmod(path, 0o600)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		nc, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer nc.Close()
	}
	if l, err := listen.Open("unix:" + path); err == nil {
		l.Close()
		t.Error("the socket in use was replaced")
	}
	wantSocket(t, path)
}
