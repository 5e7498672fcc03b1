package fallback

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
)

// A note is saved after saveDelay, with all later ones, and not sooner.
func TestPeersAreSavedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "peers")
		p := openPeers(t, path)
		p.SaveFailed = func(err error) { t.Error(err) }
		addr := func(i int) string { return fmt.Sprintf("h:%d", i) }
		for i := range 32 {
			p.Note(addr(i), SpeaksV2)
			synctest.Wait()
			saved := strings.Count(readFile(t, path), " v2 ")
			if want := i / 5 * 5; saved != want { // five fit into saveDelay
				t.Errorf("after %d notes: %d saved, want %d", i+1, saved, want)
			}
			time.Sleep(saveDelay/5 + saveDelay/50)
		}
		before := readFile(t, path)
		closePeers(t, p)
		if got := readFile(t, path); strings.Count(got, " v2 ") != 32 || got == before {
			t.Errorf("Close saved %q", got)
		}
		// After Close the file is not written.
		p.Note("late:1", SpeaksV2)
		time.Sleep(time.Hour)
		if strings.Contains(readFile(t, path), "late") || p.Lookup("late:1") != SpeaksV2 {
			t.Error("a note after Close was saved, or not recorded")
		}
	})
}

// Refusals and look-ups do not write the file.
func TestPeersFileIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "peers")
		p := openPeers(t, path)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		p.Note("one:1", RefusedV2)
		p.Note("two:1", SpeaksUnknown)
		p.Lookup("one:1")
		time.Sleep(time.Hour)
		closePeers(t, p)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file was written: %v", err)
		}
	})
}

// A failing disk is reported once until it works again, and loses no notes.
func TestSaveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dir")
		path := filepath.Join(dir, "peers")
		mkdir := func() {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		remove := func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		wait := func() { time.Sleep(time.Minute); synctest.Wait() }
		mkdir()
		p := openPeers(t, path)
		var failures []error
		p.SaveFailed = func(err error) { failures = append(failures, err) }
		remove()
		for i := range 5 {
			p.Note(fmt.Sprintf("h:%d", i), SpeaksV2)
			wait()
		}
		if len(failures) != 1 || !errors.Is(failures[0], fs.ErrNotExist) || !strings.Contains(failures[0].Error(), path) {
			t.Errorf("got reports %q", failures)
		}
		mkdir()
		p.Note("h:5", SpeaksV2)
		wait()
		if got := strings.Count(readFile(t, path), " v2 "); got != 6 || len(failures) != 1 {
			t.Errorf("%d notes in the file, %d reports", got, len(failures))
		}
		remove()
		p.Note("h:6", SpeaksV2)
		wait()
		if len(failures) != 2 {
			t.Errorf("%d reports of the second failure", len(failures)-1)
		}
		for range 2 {
			if err := p.Close(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Close: %v", err)
			}
		}
		mkdir()
		closePeers(t, p)
		if got := strings.Count(readFile(t, path), " v2 "); got != 7 || len(failures) != 2 {
			t.Errorf("%d notes in the file, %d reports", got, len(failures))
		}
	})
}

// After a failed save the next one is tried without another note.
func TestSaveIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dir")
		path := filepath.Join(dir, "peers")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p := openPeers(t, path)
		failures := 0
		p.SaveFailed = func(error) { failures++ }
		os.RemoveAll(dir)
		p.Note("h:1", SpeaksV2)
		time.Sleep(time.Hour)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(saveDelay)
		synctest.Wait()
		if got := strings.Count(readFile(t, path), " v2 "); got != 1 || failures != 1 {
			t.Errorf("%d notes in the file, %d reports", got, failures)
		}
		closePeers(t, p)
	})
}

// If the rename fails, the previous content is kept.
func TestSaveFailsAtTheRename(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peers")
	p := openPeers(t, path)
	p.Note("one:1", SpeaksV2)
	os.Remove(path)
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err == nil {
		t.Error("saving over a directory succeeded")
	}
	wantFiles(t, dir, "peers")
	wantFiles(t, path, "in the way")
}

// A reader always sees a complete file, even while two processes write it.
func TestPeersFileIsReplacedInOneStep(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there, to have a file open keeps others from replacing it")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "peers")
	var writers sync.WaitGroup
	for i := range 2 {
		p := openPeers(t, path)
		writers.Go(func() {
			for j := range 200 {
				for k := range 20 {
					p.Note(fmt.Sprintf("h%d-%d:%d", i, k, j), SpeaksV2)
				}
				if err := p.Close(); err != nil { // Close may be called again
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for reads := 0; ; reads++ {
		text := readFile(t, path)
		known, err := parsePeers([]byte(text), new(Peers).now())
		if err != nil || len(known)%20 != 0 || !strings.HasSuffix(text, "\n") {
			t.Fatalf("%d notes, %v", len(known), err)
		}
		select {
		case <-done:
			wantFiles(t, dir, "peers")
			closePeers(t, openPeers(t, path))
			return
		default:
		}
	}
}

// A slow disk blocks no other call.
func TestLookupDoesNotWaitForTheDisk(t *testing.T) {
	p := openPeers(t, filepath.Join(t.TempDir(), "peers"))
	p.Note("one:1", SpeaksV2)
	p.file.saving.Lock() // as during a save
	p.Note("two:1", SpeaksV1)
	if p.Lookup("one:1") != SpeaksV2 || p.Lookup("two:1") != SpeaksV1 {
		t.Error("the note was not recorded")
	}
	p.file.saving.Unlock()
	closePeers(t, p)
}

// Concurrent calls, for the race detector; nothing is left running.
func TestPeersFileConcurrently(t *testing.T) {
	testkit.NoLeaks(t)
	path := filepath.Join(t.TempDir(), "peers")
	p := openPeers(t, path)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				addr := fmt.Sprintf("h%d:%d", i, j)
				p.Note(addr, SpeaksV2)
				if p.Lookup(addr) != SpeaksV2 {
					t.Error("the note was not recorded")
				}
			}
		})
		wg.Go(p.saveNow)
	}
	wg.Wait()
	closePeers(t, p)
	p = openPeers(t, path)
	if p.v2.order.Len() != 8*500 {
		t.Errorf("%d peers in the file", p.v2.order.Len())
	}
	closePeers(t, p)
}

// Without a file Close has no effect.
func TestCloseWithoutFile(t *testing.T) {
	for _, p := range []*Peers{nil, new(Peers)} {
		p.Note("one:1", SpeaksV2)
		closePeers(t, p)
	}
}

// SaveFailed is called without a lock held: it may call Peers, and block.
func TestSaveFailedWithoutLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p := openPeers(t, filepath.Join(dir, "peers"))
		failed := false
		p.SaveFailed = func(error) {
			failed = true
			p.Note("two:1", SpeaksV2)
			p.Close()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		p.Note("one:1", SpeaksV2)
		time.Sleep(2 * saveDelay)
		synctest.Wait()
		if !failed {
			t.Error("SaveFailed was not called")
		}
	})
}
