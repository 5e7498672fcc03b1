package test

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

// sources are the clients not written in Go: small programs around a library, and the exact versions of all
// dependencies.
//
//go:embed testdata
var sources embed.FS

// toolchain skips the test unless the programs are installed.
func toolchain(t *testing.T, names ...string) {
	t.Helper()
	otherProgram(t)
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			notRun(t, "%s is missing", name)
		}
	}
}

// installing holds a mutex for each directory, so that tests that run in parallel install a program once.
var installing sync.Map

// cached returns a directory in the user's cache with the source of that name and what install made of it, mostly
// downloads. It is made once per version of the source. The test is skipped if that fails.
func cached(t *testing.T, name string, install func(dir string) error) string {
	t.Helper()
	return cachedWith(t, name, nil, install)
}

// cachedWith is cached for a source with added files.
func cachedWith(t *testing.T, name string, added fstest.MapFS, install func(dir string) error) string {
	t.Helper()
	source, err := fs.Sub(sources, "testdata/"+name)
	if err != nil {
		t.Fatal(err)
	}
	id := digest(t, source)
	if added != nil {
		id += "-" + digest(t, added)
	}
	home, err := cacheHome()
	if err != nil {
		notRun(t, "no cache directory: %v", err)
	}
	dir := filepath.Join(home, name+"-"+id)
	one, _ := installing.LoadOrStore(dir, new(sync.Mutex))
	one.(*sync.Mutex).Lock()
	defer one.(*sync.Mutex).Unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	fmt.Printf("%s: installing into %s, once\n", t.Name(), dir)
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	// The directory is renamed when complete, so an interrupted test leaves no incomplete one under its name.
	fresh, err := os.MkdirTemp(home, name+underway)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	release, err := lock(filepath.Join(fresh, running))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := errors.Join(os.Chmod(fresh, 0o755), os.CopyFS(fresh, source), os.CopyFS(fresh, added)); err != nil {
		t.Fatal(err)
	}
	if err := install(fresh); err != nil {
		notRun(t, "%s cannot be installed: %v", name, err)
	}
	release()                                                                     // Windows renames no directory with an open file
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) { // another test run may have won the race
		t.Fatal(err)
	}
	return dir
}

// digest returns a hash of the contents of a directory.
func digest(t *testing.T, dir fs.FS) string {
	t.Helper()
	sum := sha256.New()
	err := fs.WalkDir(dir, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := fs.ReadFile(dir, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(b), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// install runs a package manager or a compiler in dir. What npm, cargo and Maven download goes below cacheHome, too.
func install(t *testing.T, dir, name string, args ...string) error {
	otherProgram(t)
	const patience = 10 * time.Minute // downloads may be slow
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	home, err := cacheHome()
	if err != nil {
		return err
	}
	downloads := filepath.Join(home, "downloads")
	if name == "mvn" {
		args = append([]string{"-Dmaven.repo.local=" + filepath.Join(downloads, "maven")}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "npm_config_cache="+filepath.Join(downloads, "npm"), "CARGO_HOME="+filepath.Join(downloads, "cargo"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
}
