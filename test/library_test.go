package test

import (
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// docs/library.md shows a light client in 30 lines. In an empty directory, the page's file and commands sync the
// headers of a v2 node; only the path of the clone and the node's address are put in.
func TestProgramOnLibraryPage(t *testing.T) {
	t.Parallel()
	otherProgram(t)
	const section, nodeOnPage, cloneOnPage = "A light client in 30 lines", "127.0.0.1:18444", "/path/to/bip324-proxy"
	module := runIn(t, "..", nil, "go", "list", "-m")
	code := codeOn(t, "library.md", section, "package main")
	if n := strings.Count(code, "\n"); n > 30 {
		t.Errorf("the program has %d lines, not 30", n)
	}
	tidy, err := format.Source([]byte(code))
	if err != nil || !slices.Equal(slices.Sorted(strings.Lines(string(tidy))), slices.Sorted(strings.Lines(code))) {
		t.Errorf("gofmt would change more than the order of imports, which depends on the module's path: %v\n%s", err, tidy)
	}
	commands := codeOn(t, "library.md", section, "go mod init")
	clone, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	node.mine(firstTip)
	wire := startRecorder(t, node.p2p)

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(replaced(t, code, nodeOnPage, wire.addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := strings.Cut(module, "/"); strings.Contains(host, ".") { // renamed: Go would fetch what was published
		first := strings.SplitAfter(commands, "\n")[0]
		version := runIn(t, ".", nil, "go", "list", "-m", "-f", "{{.Version}}", module)
		commands = replaced(t, commands, first, first+"go mod edit -require="+module+"@"+version+" -replace="+module+"="+clone+"\n")
	} else {
		commands = replaced(t, commands, cloneOnPage, clone)
	}
	prepare, run, _ := strings.Cut(commands, "\n./")
	for line := range strings.Lines(prepare) {
		command := strings.Fields(line)
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s%v\n%s", line, err, out)
		}
	}
	client := startIn(t, dir, "the program", filepath.Join(dir, strings.TrimSpace(run)+exe))
	for height := firstTip; height <= lastTip; height++ {
		tip := fmt.Sprintf("{%d %s ", height, ask[string](t, node, "getblockhash", height))
		client.awaitLine(t, "it prints "+tip, func(line string) bool { return strings.HasPrefix(line, tip) })
		if p := node.onlyPeer(t); !p.V2 || !p.Inbound {
			t.Errorf("to the node the program is not an inbound v2 peer: %+v", p)
		}
		node.mine(1)
	}
	client.kill()
	for _, conn := range wire.connections() {
		requireUnreadable(t, conn, &chaincfg.RegressionNetParams)
	}

	// The page's first lines compile, too.
	lines := "package main\n\nimport (\n\t\"context\"\n\n\t" + regexp.MustCompile(`".*/transport/fallback"`).FindString(code) + "\n)\n\n" +
		"func lines(ctx context.Context, version, buf []byte) error {\n" +
		codeOn(t, "library.md", "", "var dialer") + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "lines.go"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	vet := exec.CommandContext(t.Context(), "go", "vet")
	vet.Dir = dir
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s\n%s", err, out, lines)
	}
}

// replaced returns text from a page with new in place of what the page has.
func replaced(t *testing.T, text, onPage, new string) string {
	t.Helper()
	if !strings.Contains(text, onPage) {
		t.Fatalf("the page has no %s in\n%s", onPage, text)
	}
	return strings.ReplaceAll(text, onPage, new)
}
