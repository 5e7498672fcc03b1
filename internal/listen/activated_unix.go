//go:build unix

package listen

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// restrictNewFiles makes new files of the process accessible to this user only, until restore
// is called.
func restrictNewFiles() (restore func()) {
	old := syscall.Umask(0o177)
	return func() { syscall.Umask(old) }
}

// firstActivated is the descriptor of the first socket that systemd passes
// (SD_LISTEN_FDS_START).
const firstActivated = 3

// Activated returns the listeners that systemd's socket activation has passed to this process
// (sd_listen_fds_with_names(3)). It can be called once.
func Activated() ([]ActivatedListener, error) {
	pid, _ := strconv.Atoi(os.Getenv("LISTEN_PID"))
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if pid != os.Getpid() {
		return nil, nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // child processes must not inherit them
	}
	var all []ActivatedListener
	for i := range n {
		l, err := activatedListener(firstActivated + i)
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
		name := "" // unknown
		if len(names) == n {
			name = names[i]
		}
		all = append(all, ActivatedListener{l, name})
	}
	return all, nil
}

// activatedListener returns a listener on a descriptor from systemd, which it closes.
func activatedListener(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "systemd socket "+strconv.Itoa(fd))
	defer f.Close() // the listener has a copy
	if why := notListening(fd); why != "" {
		return nil, fmt.Errorf("descriptor %d, from systemd, %s", fd, why)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on descriptor %d, from systemd: %w", fd, err)
	}
	return l, nil
}

// notListening returns why a socket cannot accept clients and what to change in systemd's
// unit, or "" if it listens or that is unknown.
func notListening(fd int) string {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return ""
	}
	if kind != syscall.SOCK_STREAM {
		return "is not a stream socket; in the .socket unit, write ListenStream= and no other Listen...="
	}
	if _, err := syscall.Getpeername(fd); err == nil {
		return "is a connection, not a listener; in the .socket unit, write Accept=no"
	}
	if listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && listens == 0 {
		return "does not listen: it is bound only, or was a connection; in the .socket unit, write ListenStream= and Accept=no"
	}
	return ""
}
