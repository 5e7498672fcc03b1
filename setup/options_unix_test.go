//go:build unix

package setup

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A FIFO in place of a configuration file is an error, and does not block.
func TestReadFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bitcoin.conf")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	part := (&machine{proxy: Proxy{Listen: []string{address}}}).plan(&process{kind: kinds[0], conf: path})
	if part.State != ToDo || !strings.Contains(strings.Join(part.Hints, ""), path+" is not a regular file") {
		t.Errorf("got %+v", part)
	}
}
