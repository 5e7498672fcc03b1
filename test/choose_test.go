package test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var withPrograms = flag.Bool("programs", false, "run the tests with other programs, and no others; needs -timeout "+programsTimeout)

const (
	programsTimeout = "30m"
	programsCommand = "go -C test test -timeout " + programsTimeout + " -programs"
)

// programTests are the tests that -programs runs: they download, compile or start other programs than btcd. The others
// together take a few minutes at most, whatever is cached. -run runs a test by its name, whichever kind it is.
var programTests = []string{
	"TestBcoin",
	"TestBitcoinj",
	"TestHandshakesWithRust",
	"TestKyoto",
	"TestLnd",
	"TestNeutrino",
	"TestUtreexod",
}

// choose sets which tests run, unless -run does, and returns what to report about the others.
func choose() (others string, err error) {
	if flag.Lookup("test.run").Value.String() != "" {
		return "", nil
	}
	theirs := "^(" + strings.Join(programTests, "|") + ")$"
	if !*withPrograms {
		skip := flag.Lookup("test.skip").Value
		if user := skip.String(); user != "" {
			theirs = user + "|" + theirs
		}
		others = fmt.Sprintf("not run: %d tests with other programs; %s runs them", len(programTests), programsCommand)
		return others, skip.Set(theirs)
	}
	limit := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration)
	if enough, _ := time.ParseDuration(programsTimeout); limit != 0 && limit < enough {
		return "", fmt.Errorf("-timeout %v is too short for programs that are downloaded and compiled; write: %s", limit, programsCommand)
	}
	return "", flag.Set("test.run", theirs)
}

// The names in programTests are those of tests, on any system.
func TestProgramTestsExist(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	for _, name := range programTests {
		if !bytes.Contains(all, []byte("\nfunc "+name+"(t *testing.T)")) {
			t.Errorf("there is no test %s", name)
		}
	}
}
