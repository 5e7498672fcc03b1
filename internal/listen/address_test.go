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

func TestParse(t *testing.T) {
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
		"127.0.0.1:1324":                    "tcp",
		"unix:":                             "error: has no path",
		"unix:?mode=0660":                   "error: has no path",
		"unix:/s?mode=":                     `error: has the invalid mode ""`,
		"unix:/s?mode=4660":                 "error: must be octal",
		"unix:/s?mode=0060":                 "error: the owner's",
		"unix:/s?mode=0400":                 "error: the owner's",
		"unix:/s?mode=0690":                 "error: must be octal",
		"unix:/s?mode=-660":                 "error: must be octal",
		"unix:/s?mode=rw-rw----":            "error: must be octal",
		"unix:/s?mode=0o660":                "error: must be octal",
		"unix:/s?mode=0777777777777777":     "error: must be octal",
		"unix:/s?group=":                    "error: has an empty group",
		"unix:/s?owner=bitcoin":             `error: unknown option "owner"`,
		"unix:/s?0660":                      `error: unknown option "0660"`,
		"unix:/s?mode=0660?group=x":         "error: must be octal",
		"unix:/s?mode=0660&mode=0600":       "error: has a duplicate mode",
		"unix:/s?mode=0660;group=x":         "error: has invalid options",
		"unix:/s?mode=0660&mode=0660&group": "error: duplicate",
	} {
		a, err := Parse(spec)
		got := fmt.Sprintf("%s %o %s", a.Address, a.Mode, a.Group)
		if a.Network == "tcp" {
			got = "tcp"
		}
		why, fails := strings.CutPrefix(want, "error: ")
		switch {
		case fails:
			if !errors.As(err, new(*SpecError)) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %s, %v, want an error with %q", spec, got, err, why)
			}
		case err != nil || got != want || a.Network == "tcp" && a.Address != spec:
			t.Errorf("%s: got %s, %v, want %s", spec, got, err, want)
		}
	}
}

// A socket file gets the mode and the group of its options, whatever the umask, and until then only
// its owner has access.
func TestListenSocketAccess(t *testing.T) {
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	group := os.Getgid()
	for _, g := range groups { // a group that new files do not have by default
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
			t.Errorf("%s: got %v", options, err)
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
			t.Errorf("%s: got %v", options, err)
		} else {
			nc.Close()
		}
		l.Close()
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s: the file still exists", options)
		}
	}
	path := filepath.Join(t.TempDir(), "socket")
	if _, err := Open("unix:" + path + "?group=no-such-group-here"); !errors.As(err, new(*SpecError)) || !strings.Contains(err.Error(), "unknown group; create it with groupadd") {
		t.Errorf("unknown group: %v", err)
	}
	if _, err := Open("unix:" + path + "?group=4294967295"); !errors.As(err, new(*SpecError)) {
		t.Errorf("group out of range: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file still exists")
	}
}
