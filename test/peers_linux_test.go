package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A peer that proved v2 under a name gets no plaintext under any spelling of the name, under another name or by
// address, nor after a restart.
func TestKnownInEverySpelling(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"node.example", "Node.Example.", "127.0.0.31", "other.example"} {
		n := startMultiPeer(t, map[string]string{"127.0.0.31": "v2"})
		file := filepath.Join(t.TempDir(), "peers")
		names := hosts(t, "127.0.0.31 node.example", "127.0.0.31 other.example")
		u := startKnowing(t, file, names, fallingBack)
		if end := u.session(t, net.JoinHostPort(first, n.port)); end.Transport != "v2" {
			t.Fatalf("got %+v, want transport v2", end)
		}
		n.be("cut")
		for range 2 {
			for _, host := range []string{"node.example", "NODE.EXAMPLE", "node.example.", "other.example", "127.0.0.31", "::ffff:127.0.0.31"} {
				n.take("127.0.0.31")
				end := u.session(t, net.JoinHostPort(host, n.port))
				if got := n.take("127.0.0.31"); got != (gotten{conns: 1, v2: 1}) || end.Msg != refused {
					t.Errorf("proven as %s, requested as %s: the peer got %+v; %+v", first, host, got, end)
				}
			}
			u.stop(t)
			u = startKnowing(t, file, names, fallingBack)
		}
	}
}

// One address of a name answers in v1. That is recorded for that address only: v2 is tried with the others.
func TestV1IsKnownOfOneAddress(t *testing.T) {
	t.Parallel()
	n := startMultiPeer(t, map[string]string{"127.0.0.41": "v1", "127.0.0.42": "v2"})
	file := filepath.Join(t.TempDir(), "peers")
	u := startKnowing(t, file, hosts(t, "127.0.0.41 seed.example"), fallingBack)
	if end := u.session(t, "seed.example:"+n.port); end.Transport != "v1" {
		t.Fatalf("got %+v, want transport v1", end)
	}
	if got := n.take("127.0.0.41"); got != (gotten{conns: 3, v2: 2, plaintext: 1}) {
		t.Errorf("in the first session the peer got %+v", got)
	}
	u.stop(t)
	if text := read(t, file); !strings.Contains(text, "\n127.0.0.41:"+n.port+" v1 ") || strings.Contains(text, "seed.example") {
		t.Errorf("unexpected file:\n%s", text)
	}
	for _, lines := range [][]string{{"127.0.0.41 seed.example", "127.0.0.42 seed.example"}, {"127.0.0.42 seed.example"}} {
		u = startKnowing(t, file, hosts(t, lines...), fallingBack)
		if end := u.session(t, "seed.example:"+n.port); end.Transport != "v2" {
			t.Errorf("%q: got %+v, want transport v2", lines, end)
		}
		if got := n.take("127.0.0.42"); got.v2 != 1 || got.plaintext > 0 {
			t.Errorf("%q: the v2 peer got %+v", lines, got)
		}
		u.stop(t)
	}
}

// The file is full of v2 entries. Peers that merely answer in v1 evict none.
func TestV1AnswersEvictNothing(t *testing.T) {
	t.Parallel()
	const answers = 60
	roles := map[string]string{"127.0.0.51": "cut"}
	for i := range answers {
		roles[fmt.Sprintf("127.0.52.%d", i+1)] = "v1"
	}
	n := startMultiPeer(t, roles)
	lines := []string{"127.0.0.51:" + n.port + " v2 " + in(20*day)} // the least recently used
	for i := range 9_999 {
		lines = append(lines, fmt.Sprintf("192.0.2.1:%d v2 %s", i+1, in(20*day)))
	}
	file := known(t, lines...)
	u := startKnowing(t, file, "", fallingBack)
	each(answers, 20, func(i int) {
		if end := u.session(t, fmt.Sprintf("127.0.52.%d:%s", i+1, n.port)); end.Transport != "v1" {
			t.Errorf("got %+v, want transport v1", end)
		}
	})
	u.session(t, "127.0.0.51:"+n.port)
	if got := n.take("127.0.0.51"); got != (gotten{conns: 1, v2: 1}) {
		t.Errorf("the peer got %+v", got)
	}
	u.stop(t)
	if text := read(t, file); strings.Count(text, " v2 ") != 10_000 || strings.Count(text, " v1 ") != answers {
		t.Errorf("the file has %d v2 entries and %d v1 entries, want 10000 and %d", strings.Count(text, " v2 "), strings.Count(text, " v1 "), answers)
	}
}

// A v1 entry expires a fixed time after the v2 attempt that failed, however many sessions follow; then v2 is tried
// again.
func TestV1NoteGetsOld(t *testing.T) {
	t.Parallel()
	n := startMultiPeer(t, map[string]string{"127.0.0.61": "v1"})
	addr := "127.0.0.61:" + n.port
	for _, c := range []struct {
		date  string
		kept  bool
		first gotten // what the peer gets in the first session
	}{
		{in(2 * time.Hour), true, gotten{conns: 1, plaintext: 1}},
		{in(-time.Minute), false, gotten{conns: 3, v2: 2, plaintext: 1}},
		{in(25 * time.Hour), false, gotten{conns: 3, v2: 2, plaintext: 1}}, // later than a correct clock would set
		{"2099-01-01T00:00:00Z", false, gotten{conns: 3, v2: 2, plaintext: 1}},
		{"1970-01-02T00:00:00Z", false, gotten{conns: 3, v2: 2, plaintext: 1}},
	} {
		line := addr + " v1 " + c.date
		file := known(t, line)
		u := startKnowing(t, file, "", fallingBack)
		n.take("127.0.0.61")
		for i := range 3 {
			want := c.first
			if i > 0 {
				want = gotten{conns: 1, plaintext: 1}
			}
			if end := u.session(t, addr); end.Transport != "v1" {
				t.Errorf("got %+v, want transport v1", end)
			}
			if got := n.take("127.0.0.61"); got != want {
				t.Errorf("%s: session %d: the peer got %+v, want %+v", c.date, i, got, want)
			}
		}
		u.stop(t)
		if text := read(t, file); strings.Contains(text, line+"\n") != c.kept || !strings.Contains(text, addr+" v1 ") {
			t.Errorf("%s: unexpected file:\n%s", c.date, text)
		}
	}
}

// Files written with a wrong clock, or read with one. The v2 entry counts at once; the file is unchanged at the start,
// and has the entry with its date at the end.
func TestFileOfAWrongClock(t *testing.T) {
	t.Parallel()
	n := startMultiPeer(t, map[string]string{"127.0.0.71": "cut"})
	addr := "127.0.0.71:" + n.port
	for _, date := range []string{in(20 * day), in(-time.Minute), in(-day), in(-31 * day), in(-400 * day), "1970-01-31T00:01:44Z", "1969-12-31T23:00:00Z", "0001-01-01T00:00:00Z",
		in(31 * day), in(90 * day), "2099-01-31T00:00:00Z", "9999-12-31T23:59:59Z"} {
		file := known(t, addr+" v2 "+date, "192.0.2.1:1 v2 "+in(20*day))
		before, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, file)
		for range 2 {
			u := startKnowing(t, file, "", fallingBack)
			if after, err := os.Stat(file); err != nil || before != nil && (!os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) || read(t, file) != text) {
				t.Errorf("%s: the start changed the file: %v\n%s", date, err, read(t, file))
			}
			before = nil // Close may have written until when the entry is trusted
			n.take("127.0.0.71")
			if end := u.session(t, addr); end.Msg != refused {
				t.Errorf("%s: got %+v, want a refusal", date, end)
			}
			if got := n.take("127.0.0.71"); got != (gotten{conns: 1, v2: 1}) {
				t.Errorf("%s: the peer got %+v", date, got)
			}
			u.stop(t)
			if got := read(t, file); !strings.Contains(got, addr+" v2 "+date) || !strings.Contains(got, "192.0.2.1:1 v2 ") {
				t.Errorf("%s: unexpected file:\n%s", date, got)
			}
			if told, wrong := u.says("implausible expiry times") != "", date != in(20*day) && !strings.Contains(text, addr+" v2 "+in(20 * day)[:10]); told != wrong {
				t.Errorf("%s: logged %v, want %v", date, told, wrong)
			}
		}
	}
}

// An empty file is reported, in all modes; a missing one is created.
func TestEmptyPeersFile(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--v1-fallback=never", "--v1-fallback=overlay", fallingBack} {
		for _, exists := range []bool{true, false} {
			file := filepath.Join(t.TempDir(), "peers")
			if exists {
				write(t, file, "")
			}
			u := startKnowing(t, file, "", flag)
			line := u.says("is empty")
			if exists != (line != "") || exists && !strings.Contains(line, `"level":"WARN"`) {
				t.Errorf("%s: the file exists: %v; logged: %s", flag, exists, line)
			}
			u.stop(t)
			if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
				t.Errorf("got files %v, %v; want one", entries, err)
			}
		}
	}
}

// The disk is full, the directory is not writable, or no descriptor is left for the file: with --v1-fallback never,
// which does not depend on the file, the program runs anyway. Otherwise it explains why it does not.
func TestUnusablePeersFile(t *testing.T) {
	t.Parallel()
	n := startMultiPeer(t, map[string]string{"127.0.0.81": "v2"})
	for name, prepare := range map[string]string{
		"full":      "mount -t tmpfs -o size=4k none %[1]s; head -c 4096 /dev/zero >%[1]s/other",
		"read-only": "mount --bind %[1]s %[1]s; mount -o remount,ro,bind %[1]s",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			prepare := fmt.Sprintf(prepare, dir)
			file := filepath.Join(dir, "peers")
			u := startKnowing(t, file, prepare)
			if line := u.says("known peers will not be saved"); !strings.Contains(line, `"level":"WARN"`) || !strings.Contains(line, file) {
				t.Errorf("unexpected log line: %s", line)
			}
			if end := u.session(t, "127.0.0.81:"+n.port); end.Transport != "v2" {
				t.Errorf("got %+v, want transport v2", end)
			}
			u.stop(t)
			for _, mode := range []string{"overlay", "always"} {
				code, _, stderr := runProgram(t, "unshare", "-m", "sh", "-c", prepare+"\nexec \"$0\" \"$@\"", binaries.proxy,
					"--listen", "127.0.0.1:0", "--known-peers", file, "--v1-fallback", mode)
				if code != 1 {
					t.Errorf("%s: got exit code %d, want 1", mode, code)
				}
				requireOneLine(t, stderr, file)
			}
		})
	}
}

// The file is a mount point, as in a container: it is still written, and no other file is left behind.
func TestPeersFileIsMounted(t *testing.T) {
	t.Parallel()
	n := startMultiPeer(t, map[string]string{"127.0.0.91": "v2"})
	addr := "127.0.0.91:" + n.port
	dir := t.TempDir()
	outside, file := filepath.Join(dir, "outside"), filepath.Join(dir, "peers")
	for _, text := range []string{"", "bip324 known peers 1\n", "what is this?\n" + strings.Repeat("a longer file\n", 1000)} {
		write(t, outside, text)
		write(t, file, "")
		mount := "mount --bind " + outside + " " + file
		u := startKnowing(t, file, mount, fallingBack)
		if end := u.session(t, addr); end.Transport != "v2" {
			t.Errorf("got %+v, want transport v2", end)
		}
		u.stop(t)
		if got := read(t, outside); !strings.HasPrefix(got, "bip324 known peers 1\n"+addr+" v2 ") || strings.Count(got, "\n") != 2 {
			t.Errorf("unexpected file:\n%s", got)
		}
		if strings.HasPrefix(text, "what") {
			if got := read(t, file+".corrupt"); got != text {
				t.Errorf("got %d of %d bytes set aside", len(got), len(text))
			}
		}
		n.be("cut")
		n.take("127.0.0.91")
		u = startKnowing(t, file, mount, fallingBack)
		u.session(t, addr)
		if got := n.take("127.0.0.91"); got != (gotten{conns: 1, v2: 1}) {
			t.Errorf("the peer got %+v", got)
		}
		u.stop(t)
		n.be("v2")
		for _, left := range []string{".new", ".tmp"} {
			if all, _ := filepath.Glob(file + "*" + left); len(all) > 0 {
				t.Errorf("left behind: %q", all)
			}
		}
		if _, err := os.Stat(file + ".corrupt"); err == nil != strings.HasPrefix(text, "what") && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("setting aside: %v", err)
		}
	}
}
