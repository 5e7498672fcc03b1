//go:build unix

package listen

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestParseSocket(t *testing.T) {
	for spec, want := range map[string]string{
		"unix:/s":                           "/s 600 ",
		"unix:/a=b,c":                       "/a=b,c 600 ",
		"unix:/s?":                          "/s 600 ",
		"unix:/s?mode=0660":                 "/s 660 ",
		"unix:/s?mode=600":                  "/s 600 ",
		"unix:/s?mode=00640":                "/s 640 ",
		"unix:/s?mode=0666":                 "/s 666 ",
		"unix:/s?group=bitcoin":             "/s 660 bitcoin",
		"unix:/s?group=1000&mode=0640":      "/s 640 1000",
		"unix:/s?mode=0660&group=bitcoin":   "/s 660 bitcoin",
		"127.0.0.1:1324":                    "no socket",
		"unix:":                             "error: has no path",
		"unix:?mode=0660":                   "error: has no path",
		"unix:/s?mode=":                     `error: has the mode ""`,
		"unix:/s?mode=4660":                 "error: must be octal, with permissions only",
		"unix:/s?mode=0060":                 "error: those of its owner",
		"unix:/s?mode=0400":                 "error: those of its owner",
		"unix:/s?mode=0690":                 "error: must be octal",
		"unix:/s?mode=-660":                 "error: must be octal",
		"unix:/s?mode=rw-rw----":            "error: must be octal",
		"unix:/s?mode=0o660":                "error: must be octal",
		"unix:/s?mode=0777777777777777":     "error: must be octal",
		"unix:/s?group=":                    "error: has an empty group",
		"unix:/s?owner=bitcoin":             `error: has "owner" after ?`,
		"unix:/s?0660":                      `error: has "0660" after ?`,
		"unix:/s?mode=0660?group=x":         "error: must be octal",
		"unix:/s?mode=0660&mode=0600":       "error: has mode more than once",
		"unix:/s?mode=0660;group=x":         "error: has something after ?",
		"unix:/s?mode=0660&mode=0660&group": "error: more than once",
	} {
		s, ok, err := ParseSocket(spec)
		got := fmt.Sprintf("%s %o %s", s.Path, s.Mode, s.Group)
		why, fails := strings.CutPrefix(want, "error: ")
		switch {
		case fails:
			if !errors.As(err, new(*SpecError)) || !strings.Contains(err.Error(), why) || !ok {
				t.Errorf("%s: %s, %v, want an error with %q", spec, got, err, why)
			}
			if Check(spec) == nil {
				t.Errorf("%s passes", spec)
			}
		case err != nil || ok != (want != "no socket") || ok && got != want:
			t.Errorf("%s: %s, %v, %v, want %s", spec, got, ok, err, want)
		}
		if network, address := Split(spec); ok && (network != "unix" || strings.Contains(address, "?")) || !ok && address != spec {
			t.Errorf("%s splits into %s, %s", spec, network, address)
		}
	}
}

// A socket file has the mode and the group that were asked for, whatever the umask, and
// before that it is the owner's alone.
func TestListenSocketAccess(t *testing.T) {
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	group := os.Getgid()
	for _, g := range groups { // one that is not what new files have anyway
		if g != group {
			group = g
		}
	}
	if os.Getuid() == 0 {
		group = 4711
	}
	for options, want := range map[string]struct {
		mode  os.FileMode
		group int
	}{
		"":                                     {0o600, -1},
		"?mode=0660":                           {0o660, -1},
		"?mode=0666":                           {0o666, -1},
		fmt.Sprint("?group=", group):           {0o660, group},
		fmt.Sprint("?mode=0620&group=", group): {0o620, group},
		fmt.Sprint("?mode=0777&group=", group): {0o777, group},
		fmt.Sprint("?group=", group, "&mode=0600"): {0o600, group},
	} {
		path := filepath.Join(t.TempDir(), "socket")
		l, err := Open("unix:" + path + options)
		if err != nil {
			t.Errorf("%s: %v", options, err)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if gid := int(info.Sys().(*syscall.Stat_t).Gid); info.Mode().Perm() != want.mode || want.group >= 0 && gid != want.group {
			t.Errorf("%s: mode %v, group %d", options, info.Mode(), gid)
		}
		if l.Addr().String() != path {
			t.Errorf("%s: the address is %v", options, l.Addr())
		}
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Errorf("%s: %v", options, err)
		} else {
			nc.Close()
		}
		l.Close()
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s: the file is left", options)
		}
	}
	path := filepath.Join(t.TempDir(), "socket")
	if _, err := Open("unix:" + path + "?group=no-such-group-here"); !errors.As(err, new(*SpecError)) || !strings.Contains(err.Error(), "does not have; make it with groupadd") {
		t.Errorf("an unknown group: %v", err)
	}
	if _, err := Open("unix:" + path + "?group=4294967295"); !errors.As(err, new(*SpecError)) {
		t.Errorf("a group out of range: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a file is left")
	}
}
