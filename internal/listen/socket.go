package listen

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
)

// Socket is a socket file to listen on.
type Socket struct {
	Path  string
	Mode  fs.FileMode // permissions; who may write to it may connect
	Group string      // a name or a number; empty is the process's own
}

// ParseSocket returns the socket file that spec asks Listen for, unix:/PATH, optionally
// with ?mode=0660&group=NAME. The mode is 0600 by default, and 0660 with a group. Without
// "unix:" ok is false. The error is a *SpecError.
func ParseSocket(spec string) (s Socket, ok bool, err error) {
	rest, ok := strings.CutPrefix(spec, "unix:")
	if !ok {
		return s, false, nil
	}
	path, query, options := strings.Cut(rest, "?")
	fail := func(why string) (Socket, bool, error) { return Socket{}, true, &SpecError{spec, why, options} }
	if path == "" {
		return fail("has no path")
	}
	s = Socket{Path: path, Mode: 0o600}
	if !options {
		return s, true, nil
	}
	if runtime.GOOS == "windows" {
		return fail("has a mode or a group, which sockets do not have on Windows; leave them out and restrict access to the directory")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fail("has something after ? that is neither mode=0660 nor group=NAME")
	}
	for name, all := range values {
		if len(all) > 1 {
			return fail("has " + name + " more than once")
		}
	}
	if s.Group = values.Get("group"); s.Group != "" {
		s.Mode = 0o660
	} else if values.Has("group") {
		return fail("has an empty group; write group=NAME")
	}
	if values.Has("mode") {
		mode, err := strconv.ParseUint(values.Get("mode"), 8, 16)
		if err != nil || mode&^0o777 != 0 || mode&0o600 != 0o600 {
			return fail(fmt.Sprintf("has the mode %q, which must be octal, with permissions only and with those of its owner, 0600", values.Get("mode")))
		}
		s.Mode = fs.FileMode(mode)
	}
	values.Del("mode")
	values.Del("group")
	for name := range values {
		return fail(fmt.Sprintf("has %.40q after ?, which must be mode or group", name))
	}
	return s, true, nil
}

// OpenToAll reports whether every user of this machine may connect, as far as the
// directory lets him.
func (s Socket) OpenToAll() bool { return s.Mode&0o002 != 0 }

// Split returns what to give to net.Dial for a listener at spec.
func Split(spec string) (network, address string) {
	if rest, ok := strings.CutPrefix(spec, "unix:"); ok {
		path, _, _ := strings.Cut(rest, "?")
		return "unix", path
	}
	return "tcp", spec
}

// GroupError reports that a socket file cannot be given its group.
type GroupError struct {
	Path, Group string
	Err         error
}

func (e *GroupError) Error() string {
	return fmt.Sprintf("%s cannot be given to the group %s: %v; make the user of the proxy a member of that group, or start it as root", e.Path, e.Group, e.Err)
}

func (e *GroupError) Unwrap() error { return e.Err }

// groupID returns the number of s.Group, or -1 if there is none.
func (s Socket) groupID() (int, error) {
	if s.Group == "" {
		return -1, nil
	}
	text := s.Group
	if _, err := strconv.ParseUint(text, 10, 32); err != nil {
		group, err := user.LookupGroup(text)
		if err != nil {
			return 0, &SpecError{"unix:" + s.Path + "?group=" + s.Group, "names a group that this machine does not have; make it with groupadd, or write its number", true}
		}
		text = group.Gid
	}
	id, err := strconv.ParseUint(text, 10, 31) // beyond are numbers for "no group"
	if err != nil {
		return 0, &SpecError{"unix:" + s.Path + "?group=" + s.Group, "has a group that is out of range", true}
	}
	return int(id), nil
}

// share gives the new file, which is its owner's alone, its group and then its mode, so
// that nobody else can connect meanwhile.
func (s Socket) share(groupID int) error {
	if groupID >= 0 {
		if err := os.Lchown(s.Path, -1, groupID); err != nil {
			if inner, ok := err.(*fs.PathError); ok {
				err = inner.Err
			}
			return &GroupError{s.Path, s.Group, err}
		}
	}
	return os.Chmod(s.Path, s.Mode)
}
