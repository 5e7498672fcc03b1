package test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

var clean = flag.Bool("clean", false, "run no tests; remove the files that tests downloaded, built or left behind")

const (
	scratchPrefix = "bip324-test-" // begins the name of a run's directory for temporary files; sockets need short paths
	underway      = "-incomplete-" // is in the name of a directory in cacheHome whose program is being installed
	running       = "running"      // is a file in both, locked as long as the run uses them
)

// scratch creates the directory for all temporary files of this run, including those of the programs that it starts,
// and removes what killed runs left.
func scratch() (dir string, remove func(), err error) {
	eachStale(os.RemoveAll) // what cannot be removed is left to the next run
	if dir, err = os.MkdirTemp("", scratchPrefix); err != nil {
		return "", nil, err
	}
	release, err := lock(filepath.Join(dir, running))
	if err == nil {
		err = os.Chmod(dir, 0o711) // tests run the proxy as other users
	}
	for _, name := range []string{"TMPDIR", "TMP", "TEMP", "GOTMPDIR"} { // of Unix, of Windows, of the go command
		err = errors.Join(err, os.Setenv(name, dir))
	}
	if err != nil {
		return "", nil, err
	}
	return dir, func() {
		release()
		os.RemoveAll(dir) // programs that are still ending may keep a file; the next run removes it
	}, nil
}

// eachStale calls remove with the directories of runs that were killed.
func eachStale(remove func(dir string) error) error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), scratchPrefix+"*"))
	if home, noHome := cacheHome(); noHome == nil {
		more, _ := filepath.Glob(filepath.Join(home, "*"+underway+"*"))
		dirs = append(dirs, more...)
	}
	errs := []error{err}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < 10*time.Second {
			continue // a run that has just begun may not have locked it yet
		}
		release, err := lock(filepath.Join(dir, running))
		if err != nil {
			continue // it is running, or another user's
		}
		release() // Windows removes no open files
		errs = append(errs, remove(dir))
	}
	return errors.Join(errs...)
}

// cacheHome returns the directory of what tests download and build once.
func cacheHome() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "bip324-proxy-test"), err
}

// removeAll removes all that tests left on this machine, except in Go's own caches, and reports it.
func removeAll(w io.Writer) error {
	remove := func(dir string) error {
		size, err := sizeOf(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		fmt.Fprintf(w, "removing %s (%d MB)\n", dir, size>>20)
		return os.RemoveAll(dir)
	}
	home, err := cacheHome()
	if err != nil {
		return err
	}
	if err := errors.Join(remove(home), eachStale(remove)); err != nil {
		return err
	}
	fmt.Fprintln(w, "Go's caches remain, they serve all projects: go clean -cache -testcache -modcache removes them")
	return nil
}

// sizeOf returns the size of the files in a directory.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil { // it may have vanished
				size += info.Size()
			}
		}
		return err
	})
	return size, err
}
