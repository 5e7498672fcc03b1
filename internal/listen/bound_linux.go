package listen

import (
	"os"
	"path/filepath"
	"strings"
)

// isBound reports whether an unconnected socket of this network namespace is bound to path: a
// connection to one that does not listen yet fails like one to a stale file.
func isBound(path string) bool {
	all, err := os.ReadFile("/proc/thread-self/net/unix")
	path, errAbs := filepath.Abs(path)
	if err != nil || errAbs != nil {
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
