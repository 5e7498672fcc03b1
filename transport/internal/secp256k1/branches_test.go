package secp256k1

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNoBranchOnSecrets reads the machine code of this package. In functions that may get secrets,
// conditional jumps may belong only to the head of a function, where the stack is checked, to the
// head of a loop, all of which have a constant number of rounds, and to the declaration of a
// variable, which may be zeroed in a loop. There are no divisions.
func TestNoBranchOnSecrets(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command: ", err)
	}
	for _, arch := range []struct {
		name        string
		conditional string // mnemonics of conditional jumps and divisions
	}{
		{"amd64", `J[A-LN-Z]\w*|JM[A-OQ-Z]\w*|I?DIV\w*`}, // all but JMP
		{"arm64", `B(EQ|NE|CS|HS|CC|LO|MI|PL|VS|VC|HI|LS|GE|LT|GT|LE)|CBN?ZW?|TBN?Z|[US]DIVW?`},
		{"386", `J[A-LN-Z]\w*|JM[A-OQ-Z]\w*|I?DIV\w*`},
	} {
		t.Run(arch.name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "secp256k1.a")
			cmd := exec.Command(goTool, "build", "-o", archive, ".")
			cmd.Env = append(os.Environ(), "GOARCH="+arch.name, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			code, err := exec.Command(goTool, "tool", "objdump", archive).Output()
			if err != nil {
				t.Fatal(err)
			}
			functions, jumps := checkBranches(t, string(code), regexp.MustCompile(`^(`+arch.conditional+`)$`))
			if functions < 20 || jumps < 20 {
				t.Errorf("got %d functions with %d jumps, want 20 each at least: the listing has another format", functions, jumps)
			}
		})
	}
}

// public matches the lines to which conditional jumps may belong.
var public = regexp.MustCompile(`^(for|func|var) `)

// notSecret matches functions that may branch: those with only public arguments, or none.
var notSecret = regexp.MustCompile(`\.IsSquareVartime\(SB\)|\.init\b|sync\.`)

// checkBranches reads a listing: lines with TEXT and a function, each followed by a line per
// instruction with file:line, offset, code, mnemonic.
func checkBranches(t *testing.T, listing string, conditional *regexp.Regexp) (functions, jumps int) {
	t.Helper()
	function, secret := "", false
	for line := range strings.Lines(listing) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "TEXT":
			function = f[1]
			if secret = !notSecret.MatchString(line); secret {
				functions++
			}
		case len(f) > 3 && secret && conditional.MatchString(f[3]):
			jumps++
			if source := sourceLine(t, f[0]); !public.MatchString(source) {
				t.Errorf("%s: %s at %s: %s", function, f[3], f[0], source)
			}
		}
	}
	return functions, jumps
}

// sourceLine returns the text of a line of this package, given as file:line.
func sourceLine(t *testing.T, at string) string {
	t.Helper()
	file, number, _ := strings.Cut(at, ":")
	source, err := os.ReadFile(file)
	if err != nil {
		return "not in this package"
	}
	n := 0
	for _, c := range number {
		n = 10*n + int(c-'0')
	}
	lines := bytes.Split(source, []byte("\n"))
	if n < 1 || n > len(lines) {
		return ""
	}
	return strings.TrimSpace(string(lines[n-1]))
}
