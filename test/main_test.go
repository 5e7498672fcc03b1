package test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// inNamespace is the environment variable with the proxy's path for a test that runs itself again in a namespace.
const inNamespace = "TEST_IN_NAMESPACE"

// binaries holds the paths of the programs that TestMain built.
var binaries struct{ proxy, btcd string }

func TestMain(m *testing.M) {
	if name := os.Getenv(lookUp); name != "" {
		os.Exit(lookUpName(name))
	}
	if binaries.proxy = os.Getenv(inNamespace); binaries.proxy != "" {
		binaries.btcd = filepath.Join(filepath.Dir(binaries.proxy), "btcd"+exe)
		os.Exit(m.Run())
	}
	flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))) // most tests wait for timers and programs; -parallel goes before it
	flag.Parse()
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// buildAndRun runs the chosen tests and returns the exit code.
func buildAndRun(m *testing.M) (int, error) {
	if *clean {
		return 0, removeAll(os.Stdout)
	}
	others, err := choose()
	if err != nil {
		return 1, err
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // or under nohup(1) programs that tests start would ignore it
	dir, remove, err := scratch()
	if err != nil {
		return 1, err
	}
	defer remove()
	fmt.Printf("building btcd and the proxy in %s, which is removed at the end\n", dir)
	if binaries.btcd, err = build(dir, "btcd", "github.com/btcsuite/btcd"); err != nil {
		return 1, err
	}
	if binaries.proxy, err = build(dir, "bip324-proxy", "bip324proxy", raceFlag()...); err != nil {
		return 1, err
	}
	code := m.Run()
	allAbsences.report(os.Stdout)
	if others != "" {
		fmt.Println(others)
	}
	return code, nil
}

// exe is the suffix of executables on this system.
var exe = map[string]string{"windows": ".exe"}[runtime.GOOS]

// build compiles a main package at the version in go.mod and returns the program's path, dir/name.
func build(dir, name, pkg string, flags ...string) (string, error) {
	program := filepath.Join(dir, name+exe)
	args := append([]string{"build", "-o", program}, flags...)
	if out, err := exec.Command("go", append(args, pkg)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}

// raceFlag makes `go test -race` build the proxy with the race detector, too.
func raceFlag() []string {
	if info, ok := debug.ReadBuildInfo(); ok &&
		slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return []string{"-race"}
	}
	return nil
}
