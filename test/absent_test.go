package test

import (
	"fmt"
	"io"
	"sync"
	"testing"
)

// absences counts the skipped tests by the reason: without -v, go test does not mention them.
var absences struct {
	mu      sync.Mutex
	reasons []string // in the order of their first test
	count   map[string]int
}

// notRun skips a test whose program is missing and records why.
func notRun(t *testing.T, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	absences.mu.Lock()
	if absences.count == nil {
		absences.count = make(map[string]int)
	}
	if absences.count[why]++; absences.count[why] == 1 {
		absences.reasons = append(absences.reasons, why)
	}
	absences.mu.Unlock()
	t.Skip("not run: " + why)
}

// reportAbsences writes a line for each reason for which tests were skipped.
func reportAbsences(w io.Writer) {
	absences.mu.Lock()
	defer absences.mu.Unlock()
	for _, why := range absences.reasons {
		tests := "tests"
		if absences.count[why] == 1 {
			tests = "test"
		}
		fmt.Fprintf(w, "not run: %d %s: %s\n", absences.count[why], tests, why)
	}
}
