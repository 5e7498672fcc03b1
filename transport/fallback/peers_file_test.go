package fallback

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// openPeers opens a known-peers file, or ends the test.
func openPeers(t testing.TB, path string) *Peers {
	t.Helper()
	p, err := OpenPeers(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func closePeers(t testing.TB, p *Peers) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantFiles checks which files exist: no temporary ones.
func wantFiles(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}

// The test has the file as a person sees it, and the next process reads it.
func TestPeersFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z there
		dir := t.TempDir()
		path := filepath.Join(dir, "peers")
		p := openPeers(t, path)
		if got := readFile(t, path); got != "bip324 known peers 1\n" {
			t.Errorf("the new file has %q", got)
		}
		p.Note("first.example:8333", SpeaksV1)
		p.Note("192.0.2.1:8333", SpeaksV2)
		p.Note("refused.example:8333", RefusedV2)
		p.Note("[2001:DB8::1]:18333", SpeaksV1)
		p.Note("a#%!\"\\,;é:1", SpeaksV2)   // not a valid name
		p.Note("two words:1", SpeaksV2)     // nor this
		p.Note("two\nlines:1 v1", SpeaksV1) // nor this
		p.Note("v2:1", SpeaksV1)
		p.Note(`#%!"'\,;=~|x:1`, SpeaksV2)
		p.Note("First.example:8333", SpeaksV2) // now the last
		closePeers(t, p)

		want := `bip324 known peers 1
[2001:db8::1]:18333 v1 2000-01-02T00:00:00Z
v2:1 v1 2000-01-02T00:00:00Z
192.0.2.1:8333 v2 2000-01-31T00:00:00Z
#%!"'\,;=~|x:1 v2 2000-01-31T00:00:00Z
first.example:8333 v2 2000-01-31T00:00:00Z
`
		if got := readFile(t, path); got != want {
			t.Errorf("the file has\n%swant\n%s", got, want)
		}
		wantFiles(t, dir, "peers")
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}

		p = openPeers(t, path)
		for _, c := range []struct { // in the order of the file: least recently used first
			addr string
			want Speaks
		}{
			{"[2001:db8::1]:18333", SpeaksV1}, {"v2:1", SpeaksV1},
			{"192.0.2.1:8333", SpeaksV2}, {`#%!"'\,;=~|X:1`, SpeaksV2}, {"first.example:8333", SpeaksV2},
			{"refused.example:8333", SpeaksUnknown}, {"two words:1", SpeaksUnknown},
		} {
			if got := p.Lookup(c.addr); got != c.want {
				t.Errorf("%s is known as %v, want %v", c.addr, got, c.want)
			}
		}
		closePeers(t, p)
		if got := readFile(t, path); got != want {
			t.Errorf("after reading and writing it again the file has\n%s", got)
		}
	})
}

// From a corrupt file only notes that prevent plaintext are kept, and the file itself is kept
// aside.
func TestCorruptPeersFile(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	v1 := "one:1 v1 " + in(time.Hour) + "\n"
	v2 := "two:1 v2 " + in(time.Hour) + "\n"
	last := "[::3]:1 v2 " + in(time.Hour) + "\n"
	good := peersFormat + "\n" + v1 + v2 + last
	long := strings.Repeat("x", maxPeersLine) + "\n"
	for _, c := range []struct {
		name, text string
		kept       int // number of v2 and last notes
		says       string
	}{
		{"not ours", "[main]\nrpcpassword=hunter2\n", 0, "its first line is not"},
		{"binary", "\x00\xff\x00\n\n\r\n\xfe", 0, "its first line is not"},
		{"one byte", "\n", 0, "its first line is not"},
		{"another version", "bip324 known peers 2\n" + v1 + v2 + last, 2, "its first line is not"},
		{"no first line", v2 + v1 + last, 2, "its first line is not"},
		{"half a first line", peersFormat[:10], 0, "its first line is not"},
		{"cut off", good[:len(good)-2], 1, "line 4 "},
		{"cut off in an address", good[:len(good)-len(last)+5], 1, "line 4 "},
		{"garbage behind", good + "\x00\x00\x00", 2, "line 5 "},
		{"garbage between", peersFormat + "\n" + v1 + "?\n" + v2 + last, 2, "line 3 "},
		{"empty line", peersFormat + "\n\n" + v1 + v2 + last, 2, "line 2 "},
		{"long line", peersFormat + "\n" + v1 + long + v2 + last, 2, "line 3 "},
		{"wrong version of a peer", good + "four:1 v3 " + in(time.Hour) + "\n", 2, "line 5 "},
		{"refusal", good + "four:1 refused v2 " + in(time.Hour) + "\n", 2, "line 5 "},
		{"no expiry", good + "four:1 v2\n", 2, "line 5 "},
		{"wrong expiry", good + "four:1 v2 tomorrow\n", 2, "line 5 "},
		{"more behind the expiry", good + "four:1 v2 " + in(time.Hour) + " # mine\n", 2, "line 5 "},
		{"no port", good + "four v2 " + in(time.Hour) + "\n", 2, "line 5 "},
		{"long address", good + strings.Repeat("x", maxPeersAddr-1) + ":1 v2 " + in(time.Hour) + "\n", 2, "line 5 "},
		{"too large", good + strings.Repeat("\n", maxPeersFile), 2, "it is longer than 6400320 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "peers")
			for _, before := range []string{"", "an older one"} {
				if before != "" {
					os.WriteFile(path+".corrupt", []byte(before), 0o600)
				}
				if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
					t.Fatal(err)
				}
				p, err := OpenPeers(path)
				var corrupt *CorruptPeersError
				if p == nil || !errors.As(err, &corrupt) {
					t.Fatalf("got %v, %v", p, err)
				}
				if corrupt.Kept != c.kept || corrupt.Path != path || corrupt.Moved != path+".corrupt" || !strings.HasPrefix(corrupt.Err.Error(), c.says) {
					t.Errorf("got %+v, want %d kept and %q", corrupt, c.kept, c.says)
				}
				if readFile(t, corrupt.Moved) != c.text {
					t.Error("the moved file differs")
				}
				for i, addr := range []string{"two:1", "[::3]:1"} {
					if got := p.Lookup(addr); (got == SpeaksV2) != (i < c.kept) {
						t.Errorf("%s is known as %v", addr, got)
					}
				}
				if got := p.Lookup("one:1"); got != SpeaksUnknown {
					t.Errorf("one:1 is known as %v", got)
				}
				p.Note("later:1", SpeaksV1)
				closePeers(t, p)
				wantFiles(t, dir, "peers", "peers.corrupt")

				p = openPeers(t, path) // the error is gone
				if p.Lookup("later:1") != SpeaksV1 || p.v2.order.Len()+p.v1.order.Len() != c.kept+1 {
					t.Errorf("%d peers are known, want %d", p.v2.order.Len()+p.v1.order.Len(), c.kept+1)
				}
				closePeers(t, p)
			}
		})
	}
}

// A file without notes, and one with another system's line ends, are valid.
func TestForeignPeersFile(t *testing.T) {
	expiry := time.Now().Add(time.Hour).UTC()
	for text, want := range map[string]Speaks{
		peersFormat:          SpeaksUnknown,
		peersFormat + "\r\n": SpeaksUnknown,
		peersFormat + "\nTWO:1 v2 " + expiry.Format(time.RFC3339):                                               SpeaksV2,
		peersFormat + "\r\ntwo:1 v2 " + expiry.Format(time.RFC3339) + "\r\n":                                    SpeaksV2,
		peersFormat + "\ntwo:1 v2 " + expiry.In(time.FixedZone("", 7200)).Format(time.RFC3339Nano) + "\n":       SpeaksV2,
		peersFormat + "\ntwo:1 v1 " + expiry.Add(-time.Hour).Format(time.RFC3339) + "\n":                        SpeaksUnknown,
		peersFormat + "\nTwo.:01 v2 " + expiry.Format(time.RFC3339) + "\n":                                      SpeaksV2,
		peersFormat + "\ntwo:1 v2 " + expiry.Format(time.RFC3339) + "\ntwo:1 v1 " + expiry.Format(time.RFC3339): SpeaksV2,
	} {
		path := filepath.Join(t.TempDir(), "peers")
		os.WriteFile(path, []byte(text), 0o600)
		p := openPeers(t, path)
		if got := p.Lookup("two:1"); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
		closePeers(t, p)
	}
}

// An unwritable path is an error at the start.
func TestNoPeersFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"directory":        dir,
		"no directory":     filepath.Join(dir, "none", "peers"),
		"a file as parent": filepath.Join(dir, "file", "peers"),
		"empty":            "",
	} {
		p, err := OpenPeers(path)
		var corrupt *CorruptPeersError
		if p != nil || err == nil || errors.As(err, &corrupt) {
			t.Errorf("%s: got %v, %v", name, p, err)
		}
	}
	wantFiles(t, dir, "file")

	// Opened with OpenPeers, root could replace the device if this check were missing.
	if _, err := readPeersFile(os.DevNull); err != ErrPeersFile {
		t.Error("reading a device: got another error than ErrPeersFile")
	}
}

// A symbolic link stays a link.
func TestPeersFileBehindLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "peers"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte(peersFormat), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err) // Windows requires a privilege for that
	}
	p := openPeers(t, link)
	p.Note("one:1", SpeaksV2)
	closePeers(t, p)
	if got := readFile(t, path); !strings.Contains(got, "one:1 v2 ") {
		t.Errorf("the file has %q", got)
	}
}

func TestPeersFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers")
	addr := func(i int) string { // the longest possible addresses
		return net.JoinHostPort(strings.Repeat("x", maxPeersAddr-12)+fmt.Sprintf("%06d", i), "65535")
	}
	p := openPeers(t, path)
	for i := range maxPeers + 100 {
		p.Note(addr(i), SpeaksV2)
	}
	closePeers(t, p)
	if n := len(readFile(t, path)); n > maxPeersFile || n < maxPeers*maxPeersAddr {
		t.Errorf("a full file has %d bytes", n)
	}

	// A file that another program made longer.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f, peersFormat)
	for i := range maxPeers + 5000 {
		fmt.Fprintf(f, "h:%d v2 %s\n", i, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}
	f.Close()
	p = openPeers(t, path)
	if p.v2.order.Len() != maxPeers || p.Lookup("h:4999") != SpeaksUnknown || p.Lookup("h:5000") != SpeaksV2 {
		t.Errorf("%d peers were read", p.v2.order.Len())
	}
	closePeers(t, p)
	if n := strings.Count(readFile(t, path), "\n"); n != maxPeers+1 {
		t.Errorf("%d lines were saved", n)
	}
}

// Any file can be read, and reading the notes after writing them gives the same notes.
func FuzzReadPeers(f *testing.F) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 1, time.UTC)
	good := peersFormat + "\n192.0.2.1:8333 v2 2026-09-30T12:00:00Z\n[2001:db8::1]:8333 v1 2026-09-01T20:00:00Z\n"
	for _, text := range []string{good, good[:70], good + good, strings.ToUpper(good), strings.ReplaceAll(good, "\n", "\r\n"),
		"", "\n", peersFormat + "\nx:1 v2 2026-09-30T12:00:00.5+02:00", peersFormat + "\n:\u00a0 v1 9999-12-31T23:59:59Z\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		at := clocks{up: time.Now(), wall: now}
		known, err := parsePeers(bytes.Clone(text), at)
		for _, note := range known {
			if note.speaks == SpeaksV1 && (err != nil || !note.inTime(at)) || note.speaks != SpeaksV1 && note.speaks != SpeaksV2 {
				t.Errorf("got %+v with error %v", note, err)
			}
		}
		again, err := parsePeers(formatPeers(known, at), at)
		same := func(a, b peerNote) bool {
			return a.key == b.key && a.speaks == b.speaks && a.date.Equal(b.date) && (a.speaks == SpeaksV1 || a.inTime(at) || a.read.Sub(b.read).Abs() < time.Second)
		}
		if err != nil || !slices.EqualFunc(again, known, same) {
			t.Errorf("%+v read again as %+v, %v", known, again, err)
		}
	})
}
