package netns

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lookupSockets are sockets of programs that look up names for others, outside.
var lookupSockets = []string{
	"/run/systemd/resolve/io.systemd.Resolve",
	"/run/systemd/resolve/io.systemd.Resolve.Monitor",
	"/run/nscd/socket",
	"/var/run/nscd/socket",
	"/run/avahi-daemon/socket",
}

// replaceLookup makes the namespace's own DNS sockets the only way to look up names, in a mount
// namespace.
func replaceLookup() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	for _, path := range lookupSockets {
		if err := cover("/dev/null", path); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp("", "resolv.conf")
	if err != nil {
		return err
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	if _, err := f.WriteString("nameserver " + Addr.String() + "\n"); err != nil {
		return err
	}
	return cover(f.Name(), "/etc/resolv.conf") // without one, resolvers ask 127.0.0.1
}

// cover puts a file in the place of another, if that exists.
func cover(file, path string) error {
	err := unix.Mount(file, path, "", unix.MS_BIND, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
