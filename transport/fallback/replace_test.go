package fallback

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A file that is a mount point is overwritten in place, with longer and shorter content. If that
// fails, the new content is in a file beside it.
func TestOverwrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peers")
	os.WriteFile(path, []byte("before"), 0o600)
	for _, text := range []string{"more than before", "less", ""} {
		temp, err := writeTemp(path, []byte(text))
		if err == nil {
			err = overwrite(path, temp, []byte(text))
		}
		if got := readFile(t, path); got != text || err != nil {
			t.Errorf("got %q, want %q: %v", got, text, err)
		}
		wantFiles(t, dir, "peers")
	}
	os.Remove(path)
	temp, err := writeTemp(path, []byte("whole"))
	if err != nil {
		t.Fatal(err)
	}
	if err := overwrite(path, temp, []byte("whole")); err == nil {
		t.Error("overwriting a missing file succeeded")
	}
	wantFiles(t, dir, "peers.new")
	if got := readFile(t, copyOf(path)); got != "whole" {
		t.Errorf("the copy has %q", got)
	}
}

// After an incomplete overwrite, the v2 notes of the copy and of the remaining file are kept.
func TestCutShortOverwrite(t *testing.T) {
	date := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	whole := peersFormat + "\none:1 v1 " + date + "\ntwo:1 v2 " + date + "\nthree:1 v2 " + date + "\n"
	for _, left := range []string{"", whole[:len(peersFormat)+5], whole[:len(whole)-5], strings.Replace(whole, "three", "four\x00", 1)} {
		path := filepath.Join(t.TempDir(), "peers")
		os.WriteFile(path, []byte(left), 0o600)
		os.WriteFile(copyOf(path), []byte(whole), 0o600)
		p, err := OpenPeers(path)
		var corrupt *CorruptPeersError
		if !errors.As(err, &corrupt) || corrupt.Kept != 2 {
			t.Errorf("%q: got %v", left, err)
		}
		for addr, want := range map[string]Speaks{"one:1": SpeaksUnknown, "two:1": SpeaksV2, "three:1": SpeaksV2} {
			if got := p.Lookup(addr); got != want {
				t.Errorf("%q: %s is known as %v, want %v", left, addr, got, want)
			}
		}
		closePeers(t, p)
	}
}

// An empty file is reported once, and does not replace an older file kept aside.
func TestEmptyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peers")
	os.WriteFile(path, nil, 0o600)
	os.WriteFile(path+".corrupt", []byte("of value"), 0o600)
	p, err := OpenPeers(path)
	var corrupt *CorruptPeersError
	if !errors.As(err, &corrupt) || corrupt.Moved != "" || corrupt.Kept != 0 || !strings.Contains(err.Error(), path+" is corrupt: it is empty") {
		t.Fatal(err)
	}
	closePeers(t, p)
	closePeers(t, openPeers(t, path))
	wantFiles(t, dir, "peers", "peers.corrupt")
	if got := readFile(t, path+".corrupt"); got != "of value" {
		t.Errorf("the file kept aside has %q", got)
	}
}

// The start does not rewrite a valid file with other spellings; the next save has one line per
// peer, with the later date.
func TestSpellingsInPeersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers")
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	early, late := date(time.Hour), date(20*day)
	text := peersFormat + "\nnode.example.:8333 v2 " + late + "\nNode.example:8333 v2 " + early + "\nnode.example:08333 v1 " + early +
		"\n[::ffff:192.0.2.1]:8333 v1 " + early + "\n192.0.2.1:8333 v2 " + late + "\n"
	os.WriteFile(path, []byte(text), 0o600)
	p := openPeers(t, path)
	if got := readFile(t, path); got != text {
		t.Errorf("the start changed the file to\n%s", got)
	}
	closePeers(t, p)
	if got, want := readFile(t, path), peersFormat+"\nnode.example:8333 v2 "+late+"\n192.0.2.1:8333 v2 "+late+"\n"; got != want {
		t.Errorf("the file has\n%swant\n%s", got, want)
	}
}
