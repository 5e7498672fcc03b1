package test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runToEnd runs the proxy, which must exit by itself with that code and an error that contains each of says.
func runToEnd(t *testing.T, cmd *exec.Cmd, code int, says ...string) {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != code {
		t.Errorf("got %v, want exit code %d: %s", cmd.ProcessState, code, &stderr)
	}
	for _, word := range says {
		if !strings.Contains(stderr.String(), word) {
			t.Errorf("got %q, want %q in it", &stderr, word)
		}
	}
}

// Other files at the path of a socket, sockets or not, are kept, and the error says what is there.
func TestSocketPathIsTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "datagram"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	packets, err := net.Listen("unixpacket", filepath.Join(dir, "seqpacket"))
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	stream, err := net.Listen("unix", filepath.Join(dir, "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for path, says := range map[string]string{
		file:                          file + " is a regular file, not a socket; remove it, or choose another path",
		dir:                           dir + " is a directory, not a socket",
		datagram.LocalAddr().String(): "address already in use",
		packets.Addr().String():       "address already in use",
		stream.Addr().String():        "address already in use",
	} {
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		runToEnd(t, exec.Command(binaries.proxy, "--listen", "unix:"+path), 1, path, says, "--listen")
		runToEnd(t, exec.Command(binaries.proxy, "--listen", "127.0.0.1:0", "--status", "unix:"+path), 1, path, says, "--status")
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s changed: %v", path, err)
		}
	}
}

// Several proxies start at once on the same socket path, with or without a stale socket: one gets it and is reachable,
// the others fail, and the file is gone when it exits.
func TestSocketsAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 10 {
		path := filepath.Join(t.TempDir(), "socket")
		if i%2 == 1 {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}
		const all = 4
		ended := make(chan *exec.Cmd, all)
		var cmds []*exec.Cmd
		for range all {
			cmd := exec.Command(binaries.proxy, "--listen", "unix:"+path)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() {
				cmd.Wait()
				ended <- cmd
			}()
			cmds = append(cmds, cmd)
		}
		end := time.AfterFunc(patience, func() {
			for _, cmd := range cmds {
				cmd.Process.Kill()
			}
		})
		for range all - 1 {
			if cmd := <-ended; cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("got %v, want exit code 1", cmd.ProcessState)
			}
		}
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Errorf("no proxy is reachable: %v", err)
		} else {
			nc.SetDeadline(time.Now().Add(patience))
			if err := exchange(nc, []byte{5, 1, 0}, []byte{5, 0}); err != nil {
				t.Error(err)
			}
			nc.Close()
		}
		for _, cmd := range cmds {
			cmd.Process.Signal(syscall.SIGTERM)
		}
		if cmd := <-ended; !cmd.ProcessState.Success() {
			t.Errorf("got %v, want exit code 0", cmd.ProcessState)
		}
		end.Stop()
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket is left behind")
		}
	}
}

// A proxy that exits does not remove the next proxy's socket at the same path.
func TestSocketOfTheNext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "socket")
	first := startProxy(t, "--listen", "unix:"+path)
	os.Remove(path) // by hand
	second := startProxy(t, "--listen", "unix:"+path)
	first.cmd.Process.Signal(syscall.SIGTERM)
	<-first.done
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	second.cmd.Process.Signal(syscall.SIGTERM)
	<-second.done
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left behind")
	}
}

// The program exits if systemd passes descriptors that do not listen, and says what to change in the unit.
func TestActivatedWithoutListening(t *testing.T) {
	t.Parallel()
	socket := func(kind int) *os.File {
		fd, err := syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "socket")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	good, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	connection, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		files []*os.File
		says  []string
	}{
		{[]*os.File{connection}, []string{"descriptor 3,", "is a connection", "Accept=no"}},
		{[]*os.File{good, connection}, []string{"descriptor 4,", "is a connection", "Accept=no"}},
		{[]*os.File{socket(syscall.SOCK_STREAM)}, []string{"descriptor 3,", "does not listen", "ListenStream="}},
		{[]*os.File{socket(syscall.SOCK_DGRAM)}, []string{"descriptor 3,", "is not a stream socket", "ListenStream="}},
	} {
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, binaries.proxy)
		cmd.Env = append(os.Environ(), "LISTEN_FDS="+string(rune('0'+len(c.files))))
		cmd.ExtraFiles = c.files
		runToEnd(t, cmd, 1, c.says...)
	}
}
