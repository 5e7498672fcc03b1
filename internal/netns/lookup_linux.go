package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/dns"
)

// staging is where the replacements are made. Where there is no /proc, there is no namespace.
const staging = "/proc"

// replaceLookup makes the namespace's DNS sockets the only way to look up names, in the mount
// namespace. A resolv.conf that is missing needs no replacement: resolvers ask 127.0.0.1 then.
func replaceLookup() (err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts in the namespace: %w", err)
	}
	switches, err := os.ReadFile("/etc/nsswitch.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The size has room for each file in a separate page, which may have 64 KiB.
	if err := unix.Mount("tmpfs", staging, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	defer func() { // what is bound elsewhere stays
		err = errors.Join(err, unix.Unmount(staging, unix.MNT_DETACH))
	}()
	// A lookup through Tor may take 20 seconds. A query that is lost here is rare.
	nameserver := []byte("nameserver " + Addr.String() + "\noptions timeout:25 attempts:2\n")
	for name, content := range map[string][]byte{
		"resolv.conf": nameserver, "stub-resolv.conf": nameserver, // the names in systemd-resolved's directory
		"nsswitch.conf": byDNS(switches),
	} {
		path := staging + "/" + name
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o444); err != nil { // whatever the umask
			return err
		}
	}
	for _, dir := range dns.Daemons { // they would look names up outside
		if err := errors.Join(cover(staging, dir), cover(staging, "/var"+dir)); err != nil {
			return err
		}
	}
	if err := cover(staging+"/nsswitch.conf", "/etc/nsswitch.conf"); err != nil {
		return err
	}
	return cover(staging+"/resolv.conf", "/etc/resolv.conf")
}

// cover puts a file or directory in the place of another, if that exists.
func cover(with, path string) error {
	err := unix.Mount(with, path, "", unix.MS_BIND, "")
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cover %s: %w", path, err)
	}
	return nil
}

var hostsLine = regexp.MustCompile(`(?m)^[ \t]*hosts:.*$`)

// byDNS returns an nsswitch.conf with which hosts are looked up in /etc/hosts and by DNS only.
func byDNS(conf []byte) []byte {
	return hostsLine.ReplaceAllLiteral(conf, []byte("hosts: files myhostname dns"))
}
