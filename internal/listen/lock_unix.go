//go:build unix && !aix && !solaris

package listen

import (
	"os"
	"syscall"
	"time"
)

// lockDir keeps other instances of this program from creating and removing socket files in
// the directory until unlock is called. ok is false if another instance held the lock for all
// of patience; unlock may be called anyway. A directory that this user may not read, or whose
// file system has no locks, is not locked.
func lockDir(path string, patience time.Duration) (unlock func(), ok bool) {
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return func() {}, true
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		held := err == syscall.EWOULDBLOCK || err == syscall.EINTR
		if !held || time.Now().After(end) {
			return func() { dir.Close() }, !held
		}
	}
}
