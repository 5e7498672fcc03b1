package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bip324proxy/internal/errno"
)

// NotSocketError reports a file that is not a socket at the path of a listener. It
// unwraps to EADDRINUSE.
type NotSocketError struct {
	Path string
	Mode fs.FileMode
}

func (e *NotSocketError) Error() string {
	what := "a special file"
	switch e.Mode.Type() {
	case 0:
		what = "a regular file"
	case fs.ModeDir:
		what = "a directory"
	case fs.ModeSymlink:
		what = "a symbolic link"
	}
	return fmt.Sprintf("%s is %s, not a socket; remove it, or choose another path", e.Path, what)
}

func (e *NotSocketError) Unwrap() error { return errno.EADDRINUSE }

// fileListener listens on a socket file. Close removes the file that it made, and not a
// file that has replaced it since.
type fileListener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once
}

// listenUnix opens a socket file. One that nobody listens on any more, left behind by a
// crash, is replaced.
func listenUnix(socket Socket) (net.Listener, error) {
	path := socket.Path
	groupID, err := socket.groupID()
	if err != nil {
		return nil, err
	}
	unlock, locked := lockDir(filepath.Dir(path), lockPatience)
	defer unlock()
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, &NotSocketError{path, info.Mode()}
		}
		// Without the lock it may be another instance's, between bind and
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
		err = socket.share(groupID)
	}
	if err != nil {
		l.Close()
		os.Remove(path)
		return nil, err
	}
	return &fileListener{UnixListener: l, path: path, made: made}, nil
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

// Close closes the listener and removes its file.
func (l *fileListener) Close() error {
	l.once.Do(func() {
		unlock, locked := lockDir(filepath.Dir(l.path), unlockPatience)
		defer unlock()
		if now, err := os.Lstat(l.path); locked && err == nil && os.SameFile(now, l.made) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

const (
	// lockPatience is how long a start waits for other instances that make or remove a
	// socket file in the same directory, which takes them a moment.
	lockPatience = 2 * time.Second

	// unlockPatience is the same for the end. After it the file stays, for the next
	// start to replace.
	unlockPatience = 200 * time.Millisecond
)
