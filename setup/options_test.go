package setup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Only regular files of at most 1 MiB are read.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	large, small := filepath.Join(dir, "large"), filepath.Join(dir, "small")
	write(t, large, strings.Repeat("#", maxFile+1))
	write(t, small, "proxy=1")
	for path, want := range map[string]string{dir: "is not a regular file", large: "larger than 1 MiB"} {
		if _, err := readFile(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := readFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if text, err := readFile(os.DevNull); text != "" || err != nil {
		t.Errorf("an empty file: got %q, %v", text, err)
	}
	if text, err := readFile(small); text != "proxy=1" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	err := fileError("/x/bitcoin.conf", &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission})
	if want := "cannot read /x/bitcoin.conf: run this as its owner, or with sudo"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestParseFlags(t *testing.T) {
	got := parseFlags([]string{"-proxy=a", "--proxy=b", "proxy=c", "--proxy", "d", "--noonion", "--rpcpass", "e", "-C", "f", "-Cg", "-proxy"}, []string{"proxy", "noonion", "C"}, "proxy", "C")
	var all []string
	for _, o := range got {
		all = append(all, o.key+"="+o.value)
	}
	if want := []string{"proxy=a", "proxy=b", "proxy=d", "noonion=1", "C=f", "C=g", "proxy=1"}; !slices.Equal(all, want) {
		t.Errorf("got %q, want %q", all, want)
	}
	for _, end := range []string{"-", "--"} {
		if got := parseFlags([]string{end, "-proxy=a"}, []string{"proxy"}); len(got) > 0 {
			t.Errorf("after %s: got %+v", end, got)
		}
	}
}

// Core keeps a no-break space before a key, and so ignores the line; go-flags removes it.
func TestParseSpaces(t *testing.T) {
	for _, c := range []struct {
		g    grammar
		want int
	}{{coreGrammar, 1}, {goGrammar, 2}} {
		all, err := c.g.parse("\u00a0proxy=a\n\t proxy = b \n", "", []string{"proxy"})
		if err != nil || len(all) != c.want || all[len(all)-1].value != "b" {
			t.Errorf("got %+v, %v; want %d", all, err, c.want)
		}
	}
}

func TestKindOf(t *testing.T) {
	for line, want := range map[string]string{
		"/usr/bin/bitcoind -daemon":                  "Bitcoin Core -daemon",
		"bitcoin-qt.exe":                             "Bitcoin Core ",
		"lnd --tor.active":                           "lnd --tor.active",
		"/usr/bin/node /usr/bin/bcoin --proxy=x":     "bcoin --proxy=x",
		"/usr/bin/python3 /usr/bin/electrum -D /tmp": "Electrum -D /tmp",
		"python3.12 electrum":                        "Electrum ",
		"vi bitcoind":                                "",
		"node":                                       "",
		"":                                           "",
	} {
		got := ""
		if k, args := kindOf(strings.Fields(line)); k != nil {
			got = k.name + " " + strings.Join(args, " ")
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("[main]\nproxy=127.0.0.1:9050 # tor\nmain.onion=x\n[\n]\n=\nrpcpassword=secret")
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := coreGrammar.parse(text, "f", coreKeys)
		for _, o := range all {
			if !slices.Contains(coreKeys, o.key) || o.line < 1 || o.line > strings.Count(text, "\n")+1 {
				t.Errorf("got %+v", o)
			}
		}
	})
}
