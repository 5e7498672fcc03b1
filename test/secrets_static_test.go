package test

import (
	"os/exec"
	"strings"
	"testing"
)

// What is random in the program comes from crypto/rand: none of its packages imports math/rand.
func TestOnlyCryptoRand(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "bip324proxy").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := false
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "bip324proxy") {
			continue
		}
		found = found || strings.Contains(line, "crypto/rand")
		if strings.Contains(line, "math/rand") {
			t.Errorf("math/rand is imported: %s", line)
		}
	}
	if !found {
		t.Errorf("nothing imports crypto/rand, so this test proves nothing:\n%s", out)
	}
}
