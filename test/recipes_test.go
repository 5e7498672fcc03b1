package test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// proxyOnPage is the proxy's address in all recipes of docs/clients.md.
const proxyOnPage = "127.0.0.1:1324"

// recipe returns the code block in a section of docs/clients.md that begins with the given text, without indent or
// fence. The tests use the recipes as the page shows them, so users copy what was tested.
func recipe(t *testing.T, section, begin string) string {
	t.Helper()
	return codeOn(t, "clients.md", section, begin)
}

// codeOn is recipe for any page of docs/; without a section it searches the whole page.
func codeOn(t *testing.T, name, section, begin string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := lf(page)
	if section != "" {
		_, rest, found := strings.Cut(text, "\n## "+section+"\n")
		if !found {
			t.Fatalf("docs/%s has no section %q", name, section)
		}
		text, _, _ = strings.Cut(rest, "\n## ")
	}
	for _, block := range codeBlocks(text) {
		if strings.HasPrefix(block, begin) {
			return block
		}
	}
	t.Fatalf("docs/%s, section %q: no code that begins with %q", name, section, begin)
	return ""
}

// lf converts the line endings of a checkout to LF.
func lf(text []byte) string { return strings.ReplaceAll(string(text), "\r\n", "\n") }

// codeBlocks returns the indented and the fenced blocks of a Markdown text.
func codeBlocks(text string) (blocks []string) {
	var block strings.Builder
	end := func() {
		if code := strings.Trim(block.String(), "\n"); code != "" {
			blocks = append(blocks, code+"\n")
		}
		block.Reset()
	}
	fenced := false
	for line := range strings.Lines(text) {
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "```"):
			end()
			fenced = !fenced
		case fenced:
			block.WriteString(line)
		case indented:
			block.WriteString(code)
		case line == "\n":
			block.WriteString(line) // a block may have empty lines
		default:
			end()
		}
	}
	end()
	return blocks
}

// recipeAt is recipe for a proxy at addr.
func recipeAt(t *testing.T, section, begin, addr string) string {
	t.Helper()
	code := recipe(t, section, begin)
	if !strings.Contains(code, proxyOnPage) {
		t.Fatalf("docs/clients.md, section %q: the recipe is not for a proxy at %s:\n%s", section, proxyOnPage, code)
	}
	return strings.ReplaceAll(code, proxyOnPage, addr)
}

// recipeArgs returns the arguments of the section's command line for the program, with a proxy at addr.
func recipeArgs(t *testing.T, section, program, addr string) []string {
	t.Helper()
	line, rest, _ := strings.Cut(recipeAt(t, section, program+" ", addr), "\n")
	if rest != "" {
		t.Fatalf("docs/clients.md, section %q: the command line has several lines", section)
	}
	return strings.Fields(line)[1:]
}

// runRecipe returns what the section's `bip324-proxy run` command has before and after the program.
func runRecipe(t *testing.T, section, program string) (flags, args []string) {
	t.Helper()
	line, rest, _ := strings.Cut(recipe(t, section, "bip324-proxy run "), "\n")
	words := strings.Fields(line)
	i := slices.Index(words, "--")
	if rest != "" || i < 0 || i+1 == len(words) || words[i+1] != program {
		t.Fatalf("docs/clients.md, section %q: the command line does not run %s: %s", section, program, line)
	}
	return words[2:i], words[i+2:]
}

func TestCodeBlocks(t *testing.T) {
	got := codeBlocks("text\n\n    one\n      indented\n\n    more of one\n\ntext\n\n```go\nfenced\n    code\n\nof it\n```\n\n    last\n")
	want := []string{"one\n  indented\n\nmore of one\n", "fenced\n    code\n\nof it\n", "last\n"}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("block %d is %q, want %q", i, got[i], want[i])
		}
	}
}

// Other pages repeat the recipes of the most common clients unchanged.
func TestRecipesOnOtherPages(t *testing.T) {
	lines := func(section, begin string) []string {
		return strings.Split(strings.TrimSpace(recipe(t, section, begin)), "\n")
	}
	core, btcdConf := lines("Bitcoin Core", "proxy="), lines("btcd", "[Application Options]")[1:]
	btcd := strings.Join(recipeArgs(t, "btcd", "btcd", proxyOnPage), " ")
	for _, page := range []struct {
		path string
		has  []string
	}{
		{"../README.md", []string{"`" + strings.Join(btcdConf, "`, `") + "`", "`" + strings.Join(core, "`, `") + "`"}},
		{"../docs/getting-started.md", []string{"`" + btcd + "`", "    " + strings.Join(core, "\n    ") + "\n"}},
		{"../internal/manual/page.roff", []string{strings.Join(core, "\n") + "\n"}},
	} {
		text, err := os.ReadFile(page.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range page.has {
			if !strings.Contains(lf(text), want) {
				t.Errorf("%s lacks this recipe of docs/clients.md: %q", page.path, want)
			}
		}
	}
}
