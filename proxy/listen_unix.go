//go:build unix

package proxy

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// restrictNewFiles makes files that are created from now on this user's alone,
// until what it returns is called. It is for the whole process.
func restrictNewFiles() (restore func()) {
	old := syscall.Umask(0o177)
	return func() { syscall.Umask(old) }
}

// firstActivated is the descriptor of the first socket that systemd passes
// (SD_LISTEN_FDS_START).
const firstActivated = 3

// Activated returns the listeners that systemd's socket activation has passed to
// this process (sd_listen_fds(3)), if any. It can be called once.
func Activated() ([]net.Listener, error) {
	pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID"))
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if pid != os.Getpid() {
		return nil, nil
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // they are not for this process's children
	}
	var all []net.Listener
	for fd := firstActivated; fd < firstActivated+n; fd++ {
		f := os.NewFile(uintptr(fd), "systemd socket "+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		f.Close() // the listener has a copy
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, fmt.Errorf("descriptor %d, from systemd, is no socket to listen on: %w", fd, err)
		}
		all = append(all, l)
	}
	return all, nil
}
