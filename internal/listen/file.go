package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"bip324proxy/internal/errno"
)

// FileError reports a path that a listener cannot use: its file is not a socket, which unwraps
// to EADDRINUSE, or cannot be given its group.
type FileError struct {
	Path string
	Why  string // and what to do
	Err  error
}

func (e *FileError) Error() string { return e.Path + " " + e.Why }

func (e *FileError) Unwrap() error { return e.Err }

// kind returns what a file is that is not a socket.
func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	}
	return "a special file"
}

// fileListener listens on a socket file. Close removes the file, unless another has replaced
// it.
type fileListener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once
}

// listenUnix opens a socket file. It replaces a stale one, which a crash has left.
func listenUnix(spec string, socket Address) (net.Listener, error) {
	path := socket.Address
	groupID, why := groupID(socket.Group)
	if why != "" {
		return nil, &SpecError{spec, why}
	}
	unlock, locked := lockDir(filepath.Dir(path), openPatience)
	defer unlock()
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, &FileError{path, "is " + kind(info.Mode()) + ", not a socket; remove it, or choose another path", errno.EADDRINUSE}
		}
		// Without the lock it may be another instance's, between bind and listen.
		if locked && isStale(path) {
			os.Remove(path)
		}
	}
	restore := restrictNewFiles()
	defer restore()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	made, err := os.Lstat(path)
	if err == nil {
		err = share(socket, groupID)
	}
	if err != nil {
		l.Close()
		os.Remove(path)
		return nil, err
	}
	return &fileListener{UnixListener: l, path: path, made: made}, nil
}

// groupID returns the number of a group, or -1 for the process's own, or why there is
// none and what to do.
func groupID(group string) (id int, why string) {
	if group == "" {
		return -1, ""
	}
	if _, err := strconv.ParseUint(group, 10, 32); err != nil {
		known, err := user.LookupGroup(group)
		if err != nil {
			return 0, "has an unknown group; create it with groupadd, or write its number"
		}
		group = known.Gid
	}
	n, err := strconv.ParseUint(group, 10, 31) // beyond are numbers for "no group"
	if err != nil {
		return 0, "has a group that is out of range; must be less than 2147483648"
	}
	return int(n), ""
}

// share gives the new file, which only its owner may use, its group and then its mode, so
// that nobody else can connect meanwhile.
func share(socket Address, groupID int) error {
	if groupID >= 0 {
		if err := os.Lchown(socket.Address, -1, groupID); err != nil {
			if inner, ok := err.(*fs.PathError); ok {
				err = inner.Err
			}
			return &FileError{socket.Address, fmt.Sprintf("cannot be given to the group %s: %v; make the user of the proxy a member of that group, or start it as root", socket.Group, err), err}
		}
	}
	return os.Chmod(socket.Address, socket.Mode)
}

// isStale reports whether the socket file has no live socket. Connecting to a stale one
// is refused. Any other error may come from a live socket: of a busy program, another
// user's, or another type. (Systems other than Linux refuse it for a live socket with a
// full backlog, too.)
func isStale(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, errno.ECONNREFUSED) && !isBound(path)
}

// isBound reports whether an unconnected socket of this network namespace is bound to path: a
// connection to one that does not listen yet fails like one to a stale file. Only Linux
// tells.
func isBound(path string) bool {
	all, err := os.ReadFile("/proc/thread-self/net/unix")
	path, errAbs := filepath.Abs(path)
	if runtime.GOOS != "linux" || err != nil || errAbs != nil {
		return false
	}
	for line := range strings.Lines(string(all)) { // Num RefCount Protocol Flags Type St Inode Path
		fields := strings.Fields(line)
		if len(fields) >= 8 && fields[5] == "01" && strings.HasSuffix(line, " "+path+"\n") {
			return true
		}
	}
	return false
}

// Close closes the listener and removes its file.
func (l *fileListener) Close() error {
	l.once.Do(func() {
		unlock, locked := lockDir(filepath.Dir(l.path), closePatience)
		defer unlock()
		if now, err := os.Lstat(l.path); locked && err == nil && os.SameFile(now, l.made) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

const (
	// openPatience is how long Open waits for other instances that create or remove a
	// socket file in the same directory.
	openPatience = 2 * time.Second

	// closePatience is the same for Close. After it the file stays; the next start replaces
	// it.
	closePatience = 200 * time.Millisecond
)
