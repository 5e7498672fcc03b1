package setup

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// inContainer matches the control groups of containers.
var inContainer = regexp.MustCompile(`docker|libpod|containerd|kubepods|lxc|machine\.slice`)

// processes returns the known programs that run on this machine.
func processes() (all []*process, err error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	own, _ := os.ReadFile("/proc/self/cgroup")
	network, _ := os.Readlink("/proc/self/ns/net")
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", d.Name())
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		k, args := kindOf(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"))
		if k == nil {
			continue
		}
		p := &process{kind: k, pid: pid, args: args}
		p.dir, _ = os.Readlink(filepath.Join(dir, "cwd"))
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		if _, uids, ok := strings.Cut(string(status), "\nUid:"); ok {
			p.home = p.homeIn(dir, strings.Fields(uids)[0])
		}
		p.started = startTime(dir)
		groups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		its, err := os.Readlink(filepath.Join(dir, "ns", "net"))
		switch {
		case inContainer.Match(groups) && !inContainer.Match(own):
			p.apart = "a container"
		case network == "": // this system does not say
		case err != nil:
			p.hidden = true
		case its != network:
			p.apart = "another network namespace"
		}
		if files, err := os.ReadDir(filepath.Join(dir, "fd")); err == nil {
			p.inodes = []uint64{}
			for _, f := range files {
				target, _ := os.Readlink(filepath.Join(dir, "fd", f.Name()))
				if number, ok := strings.CutPrefix(target, "socket:["); ok {
					inode, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
					p.inodes = append(p.inodes, inode)
				}
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// homeIn returns the home directory as the program sees it, whose directory in /proc is dir. It is
// $HOME, but in Go programs the user's, whatever $HOME is.
func (k *kind) homeIn(dir, uid string) string {
	environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
	_, home, _ := strings.Cut("\x00"+string(environ), "\x00HOME=")
	home, _, _ = strings.Cut(home, "\x00")
	if u, err := user.LookupId(uid); err == nil && (home == "" || slices.Contains([]string{"btcd", "utreexod", "lnd"}, k.name)) {
		return u.HomeDir
	}
	return home
}

// startTime returns when the process with that directory in /proc started, or zero.
func startTime(dir string) time.Time {
	stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
	uptime, _ := os.ReadFile("/proc/uptime")
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields, up := strings.Fields(rest), strings.Fields(string(uptime))
	if len(fields) < 20 || len(up) == 0 {
		return time.Time{}
	}
	const hertz = 100 // USER_HZ
	ticks, err1 := strconv.ParseFloat(fields[19], 64)
	seconds, err2 := strconv.ParseFloat(up[0], 64)
	if err1 != nil || err2 != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration((seconds - ticks/hertz) * float64(time.Second)))
}

// sockets returns the TCP sockets of this network namespace.
func sockets() (all []socket) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table) // there is none without the family
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 10 || !strings.Contains(fields[1], ":") {
				continue
			}
			inode, _ := strconv.ParseUint(fields[9], 10, 64)
			all = append(all, socket{hexAddr(fields[1]), hexAddr(fields[2]), fields[3] == "0A", inode})
		}
	}
	return all
}

// hexAddr parses an address as /proc/net has it: words of four bytes, in the machine's order.
func hexAddr(s string) netip.AddrPort {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	ip, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n))
}

// isOpen reports whether a program listens on the port, at an address that includes loopback.
func isOpen(all []socket, port string) bool {
	return slices.ContainsFunc(all, func(s socket) bool {
		ip := s.local.Addr()
		return s.listening && strconv.Itoa(int(s.local.Port())) == port && (ip.IsLoopback() || ip.IsUnspecified())
	})
}
