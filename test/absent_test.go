package test

import (
	"fmt"
	"io"
	"sync"
	"testing"
)

// absences lists the skipped tests and why: without -v, go test does not mention them.
var absences struct {
	mu   sync.Mutex
	list []string
}

// notRun skips a test whose program is missing and records why.
func notRun(t *testing.T, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	absences.mu.Lock()
	absences.list = append(absences.list, t.Name()+": "+why)
	absences.mu.Unlock()
	t.Skip("not run: " + why)
}

// reportAbsences lists the skipped tests.
func reportAbsences(w io.Writer) {
	absences.mu.Lock()
	defer absences.mu.Unlock()
	for _, a := range absences.list {
		fmt.Fprintln(w, "NOT RUN:", a)
	}
}
