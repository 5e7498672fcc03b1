package test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var withPrograms = flag.Bool("programs", false, "run the tests with programs other than btcd, and no others; needs -timeout "+programsTimeout)

const (
	programsTimeout = "30m"
	programsCommand = "go -C test test -timeout " + programsTimeout + " -programs"
)

// programTests matches the tests that -programs runs: they download, compile or start programs other than btcd. All
// others together take a few minutes at most, whatever is cached. -run runs tests by name, whichever kind they are.
var programTests = []string{
	"TestBcoin",
	"TestBitcoinj",
	"TestBrowser",
	"TestCoreTorControl",
	"TestDaemonFlags",
	"TestEagerRustPeer",
	"TestElectrum",
	"TestHandshakesWithRust",
	"TestInboundBansBcoin",
	"TestInboundHandshakesFromRust",
	"TestInboundHandshakesFromTypeScript",
	"TestKyoto",
	"TestLnd",
	"TestNeutrino",
	"TestNeutrinoWithDialer",
	"TestProgramOnLibraryPage", // downloads neutrino
	"TestRunBcoin",
	"TestRunBitcoinj",
	"TestRunLnd",
	"TestRunNakamoto",
	"TestRunUtreexod",
	"TestStatusPage.*", // in Chromium
	"TestTor",
	"TestUpstreamDownIsTold", // in Chromium
	"TestUtreexod",
	"TestWholeNodeBcoin",
}

// theirs matches the names of those tests.
var theirs = regexp.MustCompile("^(" + strings.Join(programTests, "|") + ")$")

// otherProgram fails a test that needs a program other than btcd and is not one of programTests.
func otherProgram(t *testing.T) {
	t.Helper()
	if name, _, _ := strings.Cut(t.Name(), "/"); !theirs.MatchString(name) {
		t.Fatalf("this test needs another program: add %s to programTests in choose_test.go", name)
	}
}

// choose sets which tests run, unless -run does, and returns what to report about the others.
func choose() (others string, err error) {
	if flag.Lookup("test.run").Value.String() != "" {
		return "", nil
	}
	if !*withPrograms {
		skip := flag.Lookup("test.skip").Value
		pattern := theirs.String()
		if user := skip.String(); user != "" {
			pattern = user + "|" + pattern
		}
		others = fmt.Sprintf("not run: the tests with programs other than btcd; %s runs them", programsCommand)
		return others, skip.Set(pattern)
	}
	limit := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration)
	if enough, _ := time.ParseDuration(programsTimeout); limit != 0 && limit < enough {
		return "", fmt.Errorf("-timeout %v is too short for programs that are downloaded and compiled; write: %s", limit, programsCommand)
	}
	return "", flag.Set("test.run", theirs.String())
}

// Each entry of programTests matches a test, on whichever system it runs.
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
		if !regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`).Match(all) {
			t.Errorf("no test matches %s", name)
		}
	}
}
