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

// setting is a row of the table. It has one name: as the flag --v1-fallback, as
// BIP324_PROXY_V1_FALLBACK in the environment, and in the file of --config.
type setting struct {
	name   string
	field  func(*Settings) any // a pointer to its field, which has the setting's type
	preset string              // the default, as it would be given; empty for the zero value
	values []string            // the valid ones, if they are few
	usage  string              // as in the help, with the value's name in backquotes
	reload bool                // SIGHUP changes it while the proxy runs
	guard  string              // of one that protects unless it has its default: the setting to write to drop that protection
	secret bool                // never shown
}

// table lists all settings, in the order of the help.
var table = []*setting{
	{name: "config", field: func(s *Settings) any { return &s.config },
		usage: "TOML `FILE` with settings; keys are the flag names. Flags and environment override it"},
	{name: "listen", field: func(s *Settings) any { return &s.Listen }, preset: "127.0.0.1:1324,[::1]:1324",
		usage: "`ADDRESS` to listen on for clients: HOST:PORT or unix:/PATH[?mode=0660&group=NAME]; repeatable"},
	{name: "auth", field: func(s *Settings) any { return &s.auth }, secret: true, reload: true, guard: "auth",
		usage: "`USER:PASSWORD` that SOCKS clients must send; required if --listen is not a loopback address, unless --clients is set"},
	{name: "auth-file", field: func(s *Settings) any { return &s.AuthFile }, reload: true, guard: "auth",
		usage: "`FILE` whose first line is USER:PASSWORD, instead of --auth"},
	{name: "clients", field: func(s *Settings) any { return &s.Clients }, reload: true, guard: "clients",
		usage: "`CIDR` of remote clients that need no password; write public:CIDR if it is not a private network; repeatable"},
	{name: "upstream", field: func(s *Settings) any { return &s.upstream }, reload: true, guard: "upstream",
		usage: "`URL` of a SOCKS5 proxy, such as Tor, for all connections: socks5://[USER:PASSWORD@]HOST:PORT or socks5+unix:///PATH"},
	{name: "connect-timeout", field: func(s *Settings) any { return &s.connectTimeout }, preset: "5s", reload: true,
		usage: "`TIME` allowed for connecting to a peer or to the upstream proxy, 1s to 60s"},
	{name: "v1-fallback", field: func(s *Settings) any { return &s.V1Fallback }, preset: "never", reload: true,
		values: []string{"never", "overlay", "always"},
		usage:  "`WHERE` plaintext v1 may be spoken to peers without v2: never, overlay (.onion through a local Tor, and CJDNS) or always"},
	{name: "cjdnsreachable", field: func(s *Settings) any { return &s.cjdnsReachable }, preset: "false", reload: true,
		usage: "this host is on CJDNS, so fc00::/8 addresses are reached through that network"},
	{name: "known-peers", field: func(s *Settings) any { return &s.KnownPeers },
		usage: "`FILE` that remembers across restarts which peers speak v2"},
	{name: "allow", field: func(s *Settings) any { return &s.allow }, reload: true,
		usage: "`RULE`, HOST or HOST:PORT, for destinations to allow; checked before --deny; repeatable"},
	{name: "deny", field: func(s *Settings) any { return &s.deny }, reload: true, guard: "deny",
		usage: "`RULE`, HOST or HOST:PORT, for destinations to deny; HOST is an address, 10.0.0.0/8, NAME, *.NAME, private or *; repeatable"},
	{name: "passthrough", field: func(s *Settings) any { return &s.Passthrough }, preset: "allow", reload: true, guard: "passthrough",
		values: []string{"allow", "deny"},
		usage:  "`POLICY` for clients that do not speak v1 (v2 already, or not Bitcoin): allow or deny"},
	{name: "peer", field: func(s *Settings) any { return &s.peer },
		usage: "`ADDRESS=PEER`: listen on ADDRESS without SOCKS and connect each client to PEER, HOST:PORT; repeatable"},
	{name: "message-memory", field: func(s *Settings) any { return &s.MessageMemory }, preset: "128",
		usage: "`MIB` of memory for messages over 16 KiB in transit, for all sessions together; further messages wait"},
	{name: "max-sessions", field: func(s *Settings) any { return &s.MaxSessions },
		usage: "`NUMBER` of simultaneous sessions; further clients are refused (default: from the file descriptor limit, at most 4096)"},
	{name: "client-rate", field: func(s *Settings) any { return &s.ClientRate }, preset: "20",
		usage: "`NUMBER` of connections per second allowed from one address, where --listen is not a loopback address"},
	{name: "status", field: func(s *Settings) any { return &s.Status },
		usage: "`ADDRESS` of the status page, such as 127.0.0.1:1325, or unix:/PATH[?mode=0660&group=NAME]; off by default"},
	{name: "status-token", field: func(s *Settings) any { return &s.statusToken }, secret: true,
		usage: "`TOKEN` that a viewer of the status must give; required unless --status is a loopback address or a unix socket"},
	{name: "status-token-file", field: func(s *Settings) any { return &s.statusTokenFile },
		usage: "`FILE` whose first line is the token, instead of --status-token"},
	{name: "status-host", field: func(s *Settings) any { return &s.statusHost },
		usage: "`NAME` or address under which the status page may be opened, besides this machine's addresses; repeatable"},
	{name: "grace", field: func(s *Settings) any { return &s.Grace }, preset: "5s", reload: true,
		usage: "`TIME` for sessions to end after the first SIGINT or SIGTERM"},
	{name: "log-addresses", field: func(s *Settings) any { return &s.LogAddresses }, preset: "true", reload: true, guard: "log-addresses",
		usage: "log the addresses and names of clients and peers; --log-addresses=false hides them"},
	{name: "log-level", field: func(s *Settings) any { return &s.LogLevel }, preset: "info", reload: true,
		values: []string{"debug", "info", "warn", "error"},
		usage:  "minimum `LEVEL` of log lines: debug, info, warn or error"},
	{name: "log-format", field: func(s *Settings) any { return &s.LogFormat }, preset: "text",
		values: []string{"text", "json"},
		usage:  "`FORMAT` of log lines: text or json"},
}

// lookUp returns the setting of that name, or nil.
func lookUp(name string) *setting {
	for _, t := range table {
		if t.name == name {
			return t
		}
	}
	return nil
}

// env returns the name of the setting's environment variable.
func (t *setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(t.name, "-", "_"))
}

const envPrefix = "BIP324_PROXY_"

// isList reports whether the setting has several values.
func (t *setting) isList() bool {
	_, ok := t.field(new(Settings)).(*[]string)
	return ok
}

func (t *setting) isBool() bool {
	_, ok := t.field(new(Settings)).(*bool)
	return ok
}

// set puts what was given into s. Unless the setting is a list, the last value counts.
func (t *setting) set(s *Settings, given []string) (err error) {
	var last string
	if len(given) > 0 {
		last = given[len(given)-1]
	}
	var wrong string
	switch field := t.field(s).(type) {
	case *[]string:
		*field = given
	case *string:
		*field = last
		if t.values != nil && !slices.Contains(t.values, last) {
			return fmt.Errorf("%q is invalid; must be %s", last, orList(t.values))
		}
	case *int:
		var n int64
		n, err = strconv.ParseInt(last, 10, 64)
		*field = int(max(math.MinInt, min(n, math.MaxInt))) // check finds what is out of bounds
		wrong = "not a valid integer"
	case *bool:
		*field, err = strconv.ParseBool(last)
		wrong = "invalid; must be true or false"
	case *time.Duration:
		*field, err = time.ParseDuration(last)
		wrong = "not a valid duration; write it as 10s or 1m30s"
	}
	if err != nil {
		return fmt.Errorf("%q is %s", last, wrong)
	}
	return nil
}

// orList returns "a, b or c".
func orList(values []string) string {
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// value returns the setting's value in s: a string, int, bool or []string. Durations
// are strings, as in the file.
func (t *setting) value(s *Settings) any {
	switch v := reflect.ValueOf(t.field(s)).Elem().Interface().(type) {
	case []string:
		return append([]string{}, v...) // not nil
	case time.Duration:
		return v.String()
	default:
		return v
	}
}

// Values returns the valid values of each setting that has only a few, by flag.
func Values() map[string][]string {
	all := make(map[string][]string)
	for _, t := range table {
		if t.values != nil {
			all["--"+t.name] = t.values
		}
	}
	return all
}
