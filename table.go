package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// setting is something that can be set, by one name: as a flag, --v1-fallback,
// and in the environment, BIP324_PROXY_V1_FALLBACK.
type setting struct {
	name   string
	preset any    // the default; its type is the setting's: string, int, time.Duration, []string
	usage  string // as in the help, with the value's name in backquotes
}

// table has all settings, in the order of the help.
var table = []setting{
	{"listen", []string(nil), "`ADDRESS` to take clients on, HOST:PORT or unix:/PATH; may be repeated (default: 127.0.0.1:1324)"},
	{"auth", "", "`USER:PASSWORD` that SOCKS clients must give; needed where --listen is not on this machine alone"},
	{"auth-file", "", "`FILE` with USER:PASSWORD in its first line, instead of --auth"},
	{"upstream", "", "SOCKS5 proxy, such as Tor, that everything goes through: `URL` socks5://[USER:PASSWORD@]HOST:PORT or socks5+unix:///PATH"},
	{"v1-fallback", "never", "`WHERE` plaintext v1 may be spoken to peers without v2: never, overlay (.onion and CJDNS), always"},
	{"peer-memory", "", "`FILE` to remember in, across restarts, which peers speak v2 and which do not"},
	{"allow", []string(nil), "`RULE`, HOST or HOST:PORT, for where clients may go, before any --deny; may be repeated"},
	{"deny", []string(nil), "`RULE`, HOST or HOST:PORT, for where clients may not go: an address, 10.0.0.0/8, NAME, *.NAME, private, or *; may be repeated"},
	{"passthrough", "allow", "`POLICY` for clients that do not speak v1 (v2 already, or not Bitcoin): allow, deny"},
	{"peer", []string(nil), "`ADDRESS=PEER`: take clients on ADDRESS, without SOCKS, and connect them to PEER, HOST:PORT; may be repeated"},
	{"message-memory", 128, "`MIB` of memory for messages of over 16 KiB on their way, of all sessions together; those beyond it wait"},
	{"max-sessions", 0, "`NUMBER` of sessions at a time; clients beyond it are refused (default: what the descriptor limit is enough for, at most 4096)"},
	{"client-rate", 20, "`NUMBER` of connections a second that one address may make where --listen is not on this machine alone"},
	{"grace", 10 * time.Second, "`TIME` for sessions to end after the first SIGINT or SIGTERM"},
	{"log-level", "info", "`LEVEL`: debug, info, warn, error"},
	{"log-format", "text", "`FORMAT`: text, json"},
}

// env is the setting's environment variable.
func (s setting) env() string {
	return "BIP324_PROXY_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

func (s setting) flag() cli.Flag {
	env := []string{s.env()}
	switch preset := s.preset.(type) {
	case string:
		return &cli.StringFlag{Name: s.name, Value: preset, Usage: s.usage, EnvVars: env}
	case int:
		return &cli.IntFlag{Name: s.name, Value: preset, Usage: s.usage, EnvVars: env}
	case time.Duration:
		return &cli.DurationFlag{Name: s.name, Value: preset, Usage: s.usage, EnvVars: env}
	case []string:
		return &cli.StringSliceFlag{Name: s.name, Usage: s.usage, EnvVars: env}
	default:
		panic(fmt.Sprintf("setting %s is a %T", s.name, preset))
	}
}
