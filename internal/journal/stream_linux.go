package journal

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// Is reports whether w leads to the journal: JOURNAL_STREAM has its device and inode
// (systemd.exec(5)). The variable alone is not enough: programs whose output goes elsewhere
// inherit it.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
