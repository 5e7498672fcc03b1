// Package settings reads what the program is told: by flags, the environment and a
// file. Each setting is a row of the table.
package settings

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/status"
	"bip324proxy/transport"
)

// Settings has all settings. To add one, add a field, a row to the table, and a check.
type Settings struct {
	config          string
	Listen          []string
	auth            string
	AuthFile        string
	Clients         []string
	upstream        []string
	bind            []string
	ConnectTimeout  time.Duration
	V1Fallback      string
	cjdnsReachable  bool
	KnownPeers      string
	allow, deny     []string
	shape           []string
	Passthrough     string
	peer            []string
	Transparent     []string
	inbound         []string
	inboundNetwork  string
	InboundV1       string
	InboundSource   string
	InboundSessions int
	announceV2      []string
	MessageMemory   int // MiB
	MaxSessions     int // 0 for what the descriptor limit is enough for
	ClientRate      int // connections a second
	Status          string
	statusToken     string
	statusTokenFile string
	statusHost      []string
	Grace           time.Duration
	LogAddresses    bool
	LogLevel        string
	LogFormat       string

	// What check makes of them.
	Policy        proxy.Policy // without the known peers
	PeerListeners []PeerListener
	Inbound       []InboundListener
	Shapes        map[string]transport.Shape // of listeners, by their addresses as the settings have them
	Token         string                     // of the status page, or empty
	Hosts         []string                   // of the status page

	origins map[string]origin // of those that are not the default
}

// PeerListener is an address, and the peer that clients are connected to there.
type PeerListener struct{ Listen, Peer string }

// Error reports an invalid setting. Its text may contain the value.
type Error struct {
	Where string // the name that it was given by, or the line
	Err   error
}

func (e *Error) Error() string { return e.Where + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Invalid returns an *Error about the setting of that name.
func (s *Settings) Invalid(name string, err error) error {
	return &Error{s.Where(name), err}
}

// Where returns the name of a setting in the way that it was given, such as --listen.
func (s *Settings) Where(name string) string {
	switch o := s.origins[name]; {
	case o.line > 0:
		return fmt.Sprintf("%v: %s", o, name)
	case o == fromEnvironment:
		return lookUp(name).env()
	}
	return "--" + name
}

// IsGiven reports whether the setting was given, even if as the default.
func (s *Settings) IsGiven(name string) bool {
	_, given := s.origins[name]
	return given
}

// Sessions returns the maximum number of simultaneous sessions.
func (s *Settings) Sessions() int {
	return cmp.Or(s.MaxSessions, proxy.DefaultMaxSessions(s.Descriptors()))
}

// Descriptors returns how many file descriptors the program needs besides the server's.
func (s *Settings) Descriptors() int {
	n := 0
	if s.Status != "" {
		n += status.MaxConns + 3 // a new connection before another is closed, the listener, and a file of /proc for the metrics
	}
	if len(s.Inbound) > 0 {
		n += proxy.InboundDescriptors(s.InboundSessions)
	}
	return n
}

// Summary returns a line that says where the settings come from.
func (s *Settings) Summary() string {
	var places []string
	for _, place := range []struct{ from, text string }{{"flag", "flags"}, {"environment", "the environment"}, {s.config, s.config}} {
		n := 0
		for name, o := range s.origins {
			if o.from == place.from && name != "config" { // which only says where the others are
				n++
			}
		}
		if n > 0 {
			places = append(places, fmt.Sprintf("%d from %s", n, place.text))
		}
	}
	return "valid: " + cmp.Or(strings.Join(places, ", "), "the defaults")
}

// ExposedFiles returns the files with a password that any local user can read.
func (s *Settings) ExposedFiles() (files []string) {
	if runtime.GOOS == "windows" { // which has no such modes
		return nil
	}
	inFile := func(name string) bool { return s.origins[name].line > 0 }
	secret := s.auth != "" && inFile("auth") || s.statusToken != "" && inFile("status-token") || s.HasUpstreamCredentials() && inFile("upstream")
	for file, has := range map[string]bool{s.config: secret, s.AuthFile: s.AuthFile != "", s.statusTokenFile: s.statusTokenFile != ""} {
		if info, err := os.Stat(file); has && err == nil && info.Mode().IsRegular() && info.Mode()&0o004 != 0 {
			files = append(files, file)
		}
	}
	return files
}

// AuthHasOuterSpace reports whether the line in auth-file begins or ends with a space,
// which SOCKS clients would have to send, too.
func (s *Settings) AuthHasOuterSpace() bool {
	c := s.Policy.Socks.Auth
	return s.AuthFile != "" && c != nil && strings.TrimSpace(c.Username+":"+c.Password) != c.Username+":"+c.Password
}
