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
	got := parseFlags([]string{"-proxy=a", "--proxy=b", "proxy=c", "--proxy", "d", "--noonion", "--rpcpass", "e", "-C", "f", "-proxy"}, []string{"proxy", "noonion", "C"}, "proxy", "C")
	var all []string
	for _, o := range got {
		all = append(all, o.key+"="+o.value)
	}
	if want := []string{"proxy=a", "proxy=b", "proxy=d", "noonion=1", "C=f", "proxy=1"}; !slices.Equal(all, want) {
		t.Errorf("got %q, want %q", all, want)
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
