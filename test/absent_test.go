package test

import (
	"fmt"
	"io"
	"sync"
	"testing"
)

// absences are the tests that found no program to run: without -v, go test says nothing of those.
var absences struct {
	mu   sync.Mutex
	list []string
}

// notRun skips a test whose program is not on this machine, and has it told at the end.
func notRun(t *testing.T, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	absences.mu.Lock()
	absences.list = append(absences.list, t.Name()+": "+why)
	absences.mu.Unlock()
	t.Skip("not run: " + why)
}

// reportAbsences lists what was not run.
func reportAbsences(w io.Writer) {
	absences.mu.Lock()
	defer absences.mu.Unlock()
	for _, a := range absences.list {
		fmt.Fprintln(w, "NOT RUN:", a)
	}
}
