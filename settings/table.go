package settings

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting is something that can be set, by one name: as a flag, --v1-fallback, in
// the environment, BIP324_PROXY_V1_FALLBACK, and in the file of --config.
type setting struct {
	name   string
	field  func(*Settings) any // its place; what that points to is the setting's type
	preset string              // the default, as it would be given; empty is the type's zero value
	values []string            // all that there are, if they are few
	usage  string              // as in the help, with the value's name in backquotes
	reload bool                // SIGHUP changes it in a running program
	guard  string              // what it protects with, if not the default: the setting to write to drop that
	secret bool                // never shown
}

// table has all settings, in the order of the help.
var table = []setting{
	{name: "config", field: func(s *Settings) any { return &s.config },
		usage: "`FILE` with settings, in TOML, by the names that the flags have; flags and the environment go before it"},
	{name: "listen", field: func(s *Settings) any { return &s.Listen }, preset: "127.0.0.1:1324,[::1]:1324",
		usage: "`ADDRESS` to take clients on, HOST:PORT or unix:/PATH[?mode=0660&group=NAME]; may be repeated"},
	{name: "auth", field: func(s *Settings) any { return &s.auth }, secret: true, reload: true, guard: "auth",
		usage: "`USER:PASSWORD` that SOCKS clients must give; needed where --listen is not on this machine alone"},
	{name: "auth-file", field: func(s *Settings) any { return &s.AuthFile }, reload: true, guard: "auth",
		usage: "`FILE` with USER:PASSWORD in its first line, instead of --auth"},
	{name: "clients", field: func(s *Settings) any { return &s.Clients }, reload: true, guard: "clients",
		usage: "`CIDR` of clients that need no password where --listen is not on this machine alone; public:CIDR unless it is private; may be repeated"},
	{name: "upstream", field: func(s *Settings) any { return &s.upstream }, reload: true, guard: "upstream",
		usage: "SOCKS5 proxy, such as Tor, that everything goes through: `URL` socks5://[USER:PASSWORD@]HOST:PORT or socks5+unix:///PATH"},
	{name: "connect-timeout", field: func(s *Settings) any { return &s.connectTimeout }, preset: "5s", reload: true,
		usage: "`TIME` that connecting to a peer, or to the upstream proxy, may take: 1s to 60s"},
	{name: "v1-fallback", field: func(s *Settings) any { return &s.V1Fallback }, preset: "never", reload: true,
		values: []string{"never", "overlay", "always"},
		usage:  "`WHERE` plaintext v1 may be spoken to peers without v2: never, overlay (.onion through a Tor on this machine, and CJDNS), always"},
	{name: "cjdnsreachable", field: func(s *Settings) any { return &s.cjdnsReachable }, preset: "false", reload: true,
		usage: "this host is configured for CJDNS: fc00::/8 addresses lead to that network"},
	{name: "known-peers", field: func(s *Settings) any { return &s.KnownPeers },
		usage: "`FILE` to remember in, across restarts, which peers speak v2 and which do not"},
	{name: "allow", field: func(s *Settings) any { return &s.allow }, reload: true,
		usage: "`RULE`, HOST or HOST:PORT, for where clients may go, before any --deny; may be repeated"},
	{name: "deny", field: func(s *Settings) any { return &s.deny }, reload: true, guard: "deny",
		usage: "`RULE`, HOST or HOST:PORT, for where clients may not go: an address, 10.0.0.0/8, NAME, *.NAME, private, or *; may be repeated"},
	{name: "passthrough", field: func(s *Settings) any { return &s.Passthrough }, preset: "allow", reload: true, guard: "passthrough",
		values: []string{"allow", "deny"},
		usage:  "`POLICY` for clients that do not speak v1 (v2 already, or not Bitcoin): allow, deny"},
	{name: "peer", field: func(s *Settings) any { return &s.peer },
		usage: "`ADDRESS=PEER`: take clients on ADDRESS, without SOCKS, and connect them to PEER, HOST:PORT; may be repeated"},
	{name: "message-memory", field: func(s *Settings) any { return &s.MessageMemory }, preset: "128",
		usage: "`MIB` of memory for messages of over 16 KiB on their way, of all sessions together; those beyond it wait"},
	{name: "max-sessions", field: func(s *Settings) any { return &s.MaxSessions },
		usage: "`NUMBER` of sessions at a time; clients beyond it are refused (default: what the descriptor limit is enough for, at most 4096)"},
	{name: "client-rate", field: func(s *Settings) any { return &s.ClientRate }, preset: "20",
		usage: "`NUMBER` of connections a second that one address may make where --listen is not on this machine alone"},
	{name: "status", field: func(s *Settings) any { return &s.Status },
		usage: "`ADDRESS` of the status page, such as 127.0.0.1:1325, or unix:/PATH[?mode=0660&group=NAME]; there is none by default"},
	{name: "status-token", field: func(s *Settings) any { return &s.statusToken }, secret: true,
		usage: "`TOKEN` that who asks for the status must show; needed where --status is not on this machine alone"},
	{name: "status-token-file", field: func(s *Settings) any { return &s.statusTokenFile },
		usage: "`FILE` with the token in its first line, instead of --status-token"},
	{name: "status-host", field: func(s *Settings) any { return &s.statusHost },
		usage: "`NAME` or address by which the status page may be asked for, besides addresses of this machine; may be repeated"},
	{name: "grace", field: func(s *Settings) any { return &s.Grace }, preset: "5s", reload: true,
		usage: "`TIME` for sessions to end after the first SIGINT or SIGTERM"},
	{name: "log-addresses", field: func(s *Settings) any { return &s.LogAddresses }, preset: "true", reload: true, guard: "log-addresses",
		usage: "addresses and names of clients and peers in the log; --log-addresses=false hides them"},
	{name: "log-level", field: func(s *Settings) any { return &s.LogLevel }, preset: "info", reload: true,
		values: []string{"debug", "info", "warn", "error"},
		usage:  "`LEVEL`: debug, info, warn, error"},
	{name: "log-format", field: func(s *Settings) any { return &s.LogFormat }, preset: "text",
		values: []string{"text", "json"},
		usage:  "`FORMAT`: text, json"},
}

// lookUp returns the setting of that name, or nil.
func lookUp(name string) *setting {
	i := slices.IndexFunc(table, func(t setting) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return &table[i]
}

// env is the setting's environment variable.
func (t *setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(t.name, "-", "_"))
}

const envPrefix = "BIP324_PROXY_"

// isList says whether the setting has several values.
func (t *setting) isList() bool {
	_, ok := t.field(new(Settings)).(*[]string)
	return ok
}

// set puts what was given into s. Of a setting that is no list the last counts.
func (t *setting) set(s *Settings, given []string) (err error) {
	var last string
	if len(given) > 0 {
		last = given[len(given)-1]
	}
	var what string
	switch field := t.field(s).(type) {
	case *[]string:
		*field = given
	case *string:
		*field = last
		if t.values != nil && !slices.Contains(t.values, last) {
			return fmt.Errorf("%q is %s", last, noneOf(t.values))
		}
	case *int:
		var n int64
		n, err = strconv.ParseInt(last, 10, 64)
		*field = int(max(math.MinInt, min(n, math.MaxInt))) // what no int holds is out of bounds all the same
		what = "no whole number"
	case *bool:
		*field, err = strconv.ParseBool(last)
		what = "neither true nor false"
	case *time.Duration:
		*field, err = time.ParseDuration(last)
		what = "no time; write it as 10s or 1m30s"
	}
	if err != nil {
		return fmt.Errorf("%q is %s", last, what)
	}
	return nil
}

// isPreset says whether s has the default.
func (t *setting) isPreset(s *Settings) bool {
	return reflect.DeepEqual(t.value(s), t.value(defaults()))
}

// copy takes the setting's value over.
func (t *setting) copy(to, from *Settings) {
	reflect.ValueOf(t.field(to)).Elem().Set(reflect.ValueOf(t.field(from)).Elem())
}

func noneOf(values []string) string {
	last := len(values) - 1
	if last == 1 {
		return fmt.Sprintf("neither %s nor %s", values[0], values[1])
	}
	return fmt.Sprintf("none of %s and %s", strings.Join(values[:last], ", "), values[last])
}

// value is what s has for the setting: a string, int, bool or []string. Times are
// strings, as in the file.
func (t *setting) value(s *Settings) any {
	switch field := t.field(s).(type) {
	case *[]string:
		return append([]string{}, *field...)
	case *string:
		return *field
	case *int:
		return *field
	case *bool:
		return *field
	case *time.Duration:
		return field.String()
	default:
		panic(fmt.Sprintf("%s is of type %T", t.name, field))
	}
}

// Values returns the values of each setting that takes only a few, by flag.
func Values() map[string][]string {
	all := make(map[string][]string)
	for _, t := range table {
		if t.values != nil {
			all["--"+t.name] = t.values
		}
	}
	return all
}
