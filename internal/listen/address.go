package listen

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
)

// Address is where a program listens: HOST:PORT, or a socket file.
type Address struct {
	Network string // "tcp" or "unix", for net.Dial
	Address string // HOST:PORT, or the path of the socket file

	// Of a socket file:
	Mode  fs.FileMode // permissions; whoever may write to it may connect
	Group string      // a name or a number; empty is the process's own
}

// SpecError reports a listener's address that is invalid.
type SpecError struct {
	Spec string
	Why  string // and what to write
}

func (e *SpecError) Error() string { return fmt.Sprintf("%q %s", e.Spec, e.Why) }

// forms ends the errors about an address that has neither form.
const forms = "; write HOST:PORT, with 127.0.0.1 or [::1] for local clients only, or unix:/PATH"

// Parse parses HOST:PORT, or unix:/PATH for a socket file, optionally followed by
// ?mode=0660&group=NAME. The mode is 0600 by default, and 0660 with a group. Parse opens
// nothing and looks up no name. The error is a *SpecError.
func Parse(spec string) (Address, error) {
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		return parseSocket(spec, path)
	}
	host, port, err := net.SplitHostPort(spec)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	switch {
	case err != nil:
		return Address{}, &SpecError{spec, "is not a valid address" + forms}
	case host == "":
		return Address{}, &SpecError{spec, "has no host; write HOST:PORT, with 127.0.0.1 or [::1] for programs on this machine only, or 0.0.0.0 or [::] for all"}
	}
	return Address{Network: "tcp", Address: spec}, nil
}

func parseSocket(spec, path string) (Address, error) {
	path, query, hasOptions := strings.Cut(path, "?")
	a := Address{Network: "unix", Address: path, Mode: 0o600}
	fail := func(format string, args ...any) (Address, error) {
		return Address{}, &SpecError{spec, fmt.Sprintf(format, args...)}
	}
	switch {
	case path == "":
		return fail("has no path%s", forms)
	case !hasOptions:
		return a, nil
	case runtime.GOOS == "windows":
		return fail("has a mode or a group, which sockets do not have on Windows; omit them and restrict access to the directory")
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		return fail("has invalid options; after ?, write mode=0660, group=NAME or both, joined by &")
	}
	for name, values := range options {
		switch {
		case name != "mode" && name != "group":
			return fail("has the unknown option %.40q; must be mode or group", name)
		case len(values) > 1:
			return fail("has a duplicate %s", name)
		}
	}
	if a.Group = options.Get("group"); a.Group != "" {
		a.Mode = 0o660
	} else if options.Has("group") {
		return fail("has an empty group; write group=NAME")
	}
	if options.Has("mode") {
		mode, err := strconv.ParseUint(options.Get("mode"), 8, 16)
		if err != nil || mode&^0o777 != 0 || mode&0o600 != 0o600 {
			return fail("has the invalid mode %q; must be octal permissions that include the owner's, 0600", options.Get("mode"))
		}
		a.Mode = fs.FileMode(mode)
	}
	return a, nil
}

// NetAddr returns the address, or nil if its host is a name.
func (a Address) NetAddr() net.Addr {
	if a.Network == "unix" {
		return &net.UnixAddr{Name: a.Address, Net: "unix"}
	}
	if addr, err := netip.ParseAddrPort(a.Address); err == nil {
		return net.TCPAddrFromAddrPort(addr)
	}
	return nil
}

// OpenToAll reports whether a is a socket file that every local user may connect to, as
// far as its directory allows.
func (a Address) OpenToAll() bool { return a.Mode&0o002 != 0 }

// AnyPort reports whether the system chooses the port when a is listened on.
func (a Address) AnyPort() bool {
	_, port, _ := net.SplitHostPort(a.Address)
	return a.Network == "tcp" && port == "0"
}

// Spelling returns a listener's address as settings have it: HOST:PORT or unix:/PATH.
func Spelling(addr net.Addr) string {
	if socket, ok := addr.(*net.UnixAddr); ok {
		return "unix:" + socket.Name
	}
	return addr.String()
}

// IsLocal reports whether only programs on this machine can reach a listener at addr.
func IsLocal(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}
