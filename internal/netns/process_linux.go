package netns

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bip324proxy/internal/inherited"
)

// role says what a process with HolderCommand is for: it is the holder, or makes sockets.
type role struct {
	Control int  // the descriptor of its end of the control
	Dial    bool // Namespace.Dial is needed
	IPv6    bool // the namespace gets Addr6
	Sockets bool // it makes sockets
}

// startHolder starts the holder in new namespaces, in which users are the same as outside, with
// the capabilities to set them up.
func startHolder(control *os.File, r role) (*os.Process, error) {
	uids, err := idMap("uid_map", os.Geteuid())
	if err != nil {
		return nil, err
	}
	gids, err := idMap("gid_map", os.Getegid())
	if err != nil {
		return nil, err
	}
	pid, err := startSelf(control, r, true, &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings:                uids,
		GidMappings:                gids,
		GidMappingsEnableSetgroups: maySetGroups(),
		AmbientCaps:                []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN, unix.CAP_NET_BIND_SERVICE, unix.CAP_SETPCAP},
	})
	if err != nil {
		return nil, err
	}
	return os.FindProcess(pid)
}

// startSelf starts this program with a role. The control keeps its number, so that it replaces
// no inherited file; with inherit, the process gets those, too.
func startSelf(control *os.File, r role, inherit bool, attr *syscall.SysProcAttr) (pid int, err error) {
	r.Control = int(control.Fd())
	files := make([]uintptr, r.Control+1)
	for fd := range files {
		files[fd] = uintptr(fd)
		if fd != r.Control && !(inherit && inherited.Is(fd)) {
			files[fd] = ^uintptr(0) // none
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	pid, _, err = syscall.StartProcess("/proc/self/exe", []string{os.Args[0], HolderCommand, string(b)},
		&syscall.ProcAttr{Files: files, Env: os.Environ(), Sys: attr})
	return pid, err
}

// maySetGroups reports whether the command may change its supplementary groups: root may, unless
// the user namespace of this process forbids it.
func maySetGroups() bool {
	setting, _ := os.ReadFile("/proc/self/setgroups")
	return os.Geteuid() == 0 && strings.TrimSpace(string(setting)) != "deny"
}

// idMap returns a mapping of ids to themselves: of all for root, else of own.
func idMap(file string, own int) (all []syscall.SysProcIDMap, err error) {
	if os.Geteuid() != 0 {
		return []syscall.SysProcIDMap{{ContainerID: own, HostID: own, Size: 1}}, nil
	}
	f, err := os.Open("/proc/self/" + file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for {
		var inside, outside, size int64
		if n, _ := fmt.Fscan(f, &inside, &outside, &size); n != 3 {
			return all, nil
		}
		id := int(inside)
		all = append(all, syscall.SysProcIDMap{ContainerID: id, HostID: id, Size: int(min(size, math.MaxInt))})
	}
}
