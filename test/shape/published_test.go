package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The tables in docs/shape.md and docs/shape-figures.md are those of the report in testdata, which is about the recording beside it.
func TestPublishedTables(t *testing.T) {
	const dir = "../testdata/shape/"
	data, err := os.ReadFile(dir + "report.json")
	if err != nil {
		t.Fatal(err)
	}
	var report Report
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	for page, want := range map[string]string{"shape": report.Summary(), "shape-figures": report.Markdown()} {
		text, err := os.ReadFile("../../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "<!-- table: go -C test run ./shape -->\n")
		tables, _, ok := strings.Cut(rest, "<!-- end -->")
		if !ok || strings.TrimSpace(tables) != strings.TrimSpace(want) {
			t.Errorf("docs/%s.md has other tables; the report's are\n%s", page, want)
		}
	}
	recording, err := readFile(dir + "recording.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	if len(recording.Sessions) != report.Sessions || recording.Commit != report.Commit {
		t.Errorf("the recording has %d sessions of version %s, the report %d of %s", len(recording.Sessions), recording.Commit, report.Sessions, report.Commit)
	}
}
