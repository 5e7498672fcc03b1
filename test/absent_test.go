package test

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// absences counts the skipped tests by the reason: without -v, go test does not mention them.
type absences struct {
	mu      sync.Mutex
	reasons []string // in the order of their first test
	count   map[string]int
}

var allAbsences absences

// notRun skips a test whose program is missing and records why. The reason follows "not run: 3 tests:".
func notRun(t *testing.T, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	allAbsences.add(why)
	t.Skip("not run: " + why)
}

var skipped = regexp.MustCompile(`(?m)^ +\S+: not run: (.*)\n--- SKIP: `)

// whySkipped returns why a test that ran in another process was skipped, or "" if it was not.
func whySkipped(output string) string {
	if m := skipped.FindStringSubmatch(output); m != nil {
		return m[1]
	}
	return ""
}

func (a *absences) add(why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count == nil {
		a.count = make(map[string]int)
	}
	if a.count[why]++; a.count[why] == 1 {
		a.reasons = append(a.reasons, why)
	}
}

// report writes a line for each reason for which tests were skipped.
func (a *absences) report(w io.Writer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, why := range a.reasons {
		tests := "tests"
		if a.count[why] == 1 {
			tests = "test"
		}
		fmt.Fprintf(w, "not run: %d %s: %s\n", a.count[why], tests, why)
	}
}

// The end of the output says how many tests did not run, why, and what runs them.
func TestAbsences(t *testing.T) {
	var a absences
	var b strings.Builder
	for _, why := range []string{"Bitcoin Core is missing; BITCOIND=/path/to/bitcoind runs them", "it needs Linux", "Bitcoin Core is missing; BITCOIND=/path/to/bitcoind runs them"} {
		a.add(why)
	}
	a.report(&b)
	const want = "not run: 2 tests: Bitcoin Core is missing; BITCOIND=/path/to/bitcoind runs them\nnot run: 1 test: it needs Linux\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}

// A test that another process skips, such as one in a namespace, says why in its output; a test of which a part is
// skipped is not skipped.
func TestWhySkipped(t *testing.T) {
	for output, want := range map[string]string{
		"=== RUN   TestX\n    x_test.go:9: not run: it is missing: a; b\n--- SKIP: TestX (0.00s)\nPASS\n":                                   "it is missing: a; b",
		"=== RUN   TestX\n=== RUN   TestX/y\n    x_test.go:9: not run: why\n    --- SKIP: TestX/y (0.00s)\n--- PASS: TestX (0.00s)\nPASS\n": "",
	} {
		if got := whySkipped(output); got != want {
			t.Errorf("%q: got %q, want %q", output, got, want)
		}
	}
}
