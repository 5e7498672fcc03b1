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
	group  string              // one of groups: where the help has it
	usage  string              // as in the help, with the value's name in backquotes
	more   string              // further sentences, for the manual page and the setting's own help
	reload bool                // SIGHUP changes it while the proxy runs
	guard  string              // of one that protects unless it has its default: the setting to write to drop that protection
	secret bool                // never shown
	orOne  bool                // a list that may be one string in a file

	splitList func(text string) []string // at the commas between its values; nil: each comma is one
}

// The groups of settings, in the order of the help and the manual page.
const (
	groupClients = "Clients"
	groupPeers   = "Peers"
	groupInbound = "Inbound"
	groupV1      = "v1 and v2"
	groupStatus  = "Status page"
	groupLimits  = "Limits"
	groupLog     = "Log"
	groupGeneral = "General"
)

var groups = []string{groupClients, groupPeers, groupInbound, groupV1, groupStatus, groupLimits, groupLog, groupGeneral}

// table lists all settings, in the order of the documentation.
var table = []*setting{
	{name: "config", group: groupGeneral, field: func(s *Settings) any { return &s.config },
		usage: "TOML `FILE` with settings",
		more:  "Keys are the flag names. Flags and environment override the file."},
	{name: "listen", group: groupClients, field: func(s *Settings) any { return &s.Listen }, preset: "127.0.0.1:1324,[::1]:1324",
		usage: "`ADDRESS` to listen on: HOST:PORT or unix:/PATH; repeatable",
		more:  "A unix socket may have a mode and a group: unix:/PATH?mode=0660&group=NAME."},
	{name: "auth", group: groupClients, field: func(s *Settings) any { return &s.auth }, secret: true, reload: true, guard: "auth",
		usage: "`USER:PASSWORD` that clients must send",
		more:  "Required if --listen is not a loopback address, unless --clients is set."},
	{name: "auth-file", group: groupClients, field: func(s *Settings) any { return &s.AuthFile }, reload: true, guard: "auth",
		usage: "`FILE` whose first line is USER:PASSWORD",
		more:  "Use it instead of --auth, which other users can see in the list of processes."},
	{name: "clients", group: groupClients, field: func(s *Settings) any { return &s.Clients }, reload: true, guard: "clients",
		usage: "`CIDR` of remote clients that need no password; repeatable",
		more:  "Write public:CIDR if it is not a private network."},
	{name: "upstream", group: groupPeers, field: func(s *Settings) any { return &s.upstream }, reload: true, guard: "upstream", orOne: true, splitList: splitUpstreams,
		usage: "`[PATTERN=]URL` of a SOCKS5 proxy for all connections, or for PATTERN; for Tor socks5://127.0.0.1:9050; repeatable",
		more:  "Write socks5://[USER:PASSWORD@]HOST:PORT or socks5+unix:///PATH. Names are looked up by that proxy. PATTERN is a RULE as in --deny; *.onion=socks5://127.0.0.1:9050 is for Tor addresses only. The first that matches counts; without a match the connection is direct."},
	{name: "bind", group: groupPeers, field: func(s *Settings) any { return &s.bind }, reload: true, guard: "bind",
		usage: "`ADDRESS` or interface that direct connections leave from; repeatable",
		more:  "Write one IPv4 and one IPv6 address at most, or an interface (Linux, macOS). It does not apply to lookups and to --upstream."},
	{name: "connect-timeout", group: groupPeers, field: func(s *Settings) any { return &s.ConnectTimeout }, preset: "5s", reload: true,
		usage: "`TIME` for connecting, 1s to 60s",
		more:  "It applies to each peer or, through an upstream proxy, to that proxy."},
	{name: "v1-fallback", group: groupV1, field: func(s *Settings) any { return &s.V1Fallback }, preset: "never", reload: true,
		values: []string{"never", "overlay", "always"},
		usage:  "`WHERE` peers without v2 may get plaintext v1: never, overlay (.onion, CJDNS) or always",
		more:   "overlay is where the network encrypts: .onion through a local Tor, and CJDNS."},
	{name: "cjdnsreachable", group: groupV1, field: func(s *Settings) any { return &s.cjdnsReachable }, preset: "false", reload: true,
		usage: "this host is on CJDNS: fc00::/8 is that network",
		more:  "Otherwise these are ordinary private addresses."},
	{name: "known-peers", group: groupV1, field: func(s *Settings) any { return &s.KnownPeers },
		usage: "`FILE` that remembers which peers speak v2",
		more:  "These are never downgraded to v1, even after a restart."},
	{name: "allow", group: groupPeers, field: func(s *Settings) any { return &s.allow }, reload: true,
		usage: "`RULE` for destinations to allow even if --deny has them; repeatable",
		more:  "A rule is HOST or HOST:PORT; see --deny."},
	{name: "deny", group: groupPeers, field: func(s *Settings) any { return &s.deny }, reload: true, guard: "deny",
		usage: "`RULE` for destinations to deny, such as private, 10.0.0.0/8, *.onion or *:25; repeatable",
		more:  "A rule is HOST or HOST:PORT. HOST is an address, a network, NAME, *.NAME, private or *."},
	{name: "shape", group: groupPeers, field: func(s *Settings) any { return &s.shape }, reload: true, guard: "shape", orOne: true, splitList: splitShapes,
		usage: "`[LISTENER=]SHAPE` of the traffic to v2 peers: off, core, pad, cover or tunnel; repeatable",
		more:  "pad hides the sizes of the messages that are sent, cover their times, too. tunnel hides those of both directions, if this program is at the other end and its listener also has tunnel. This costs bytes, and cover and tunnel delay messages. core hides nothing: VERSION leaves when Bitcoin Core's would. SHAPE may go on with ,key=value, as in cover,cell=2048,every=4s. LISTENER is an address of --listen, --peer, --transparent or --inbound, as it is written there; without it, SHAPE is for all of these but --inbound."},
	{name: "passthrough", group: groupV1, field: func(s *Settings) any { return &s.Passthrough }, preset: "allow", reload: true, guard: "passthrough",
		values: []string{"allow", "deny"},
		usage:  "`POLICY` for clients that do not speak v1: allow or deny",
		more:   "They speak v2 already, or are not Bitcoin."},
	{name: "peer", group: groupClients, field: func(s *Settings) any { return &s.peer },
		usage: "`ADDRESS=PEER`: also listen on ADDRESS, without SOCKS, and connect to PEER; repeatable",
		more:  "PEER is HOST:PORT."},
	{name: "transparent", group: groupClients, field: func(s *Settings) any { return &s.Transparent },
		usage: "`ADDRESS` to listen on for connections that the system redirects; repeatable",
		more:  "They go where they were meant to go, without SOCKS. ADDRESS is HOST:PORT, or systemd:NAME, a socket that systemd passes. It works on Linux and FreeBSD; bip324-proxy transparent-rules prints the rules."},
	{name: "inbound", group: groupInbound, field: func(s *Settings) any { return &s.inbound },
		usage: "`ADDRESS=NODE`: accept v2 peers on ADDRESS, and connect them to NODE with v1; repeatable",
		more:  "For example 0.0.0.0:8333=127.0.0.1:8335. ADDRESS may also be systemd:NAME, a socket that systemd passes. NODE is HOST:PORT or unix:/PATH, on this machine or a private network."},
	{name: "inbound-network", group: groupInbound, field: func(s *Settings) any { return &s.inboundNetwork },
		usage: "`NETWORK` of --inbound, such as signet or eight hexadecimal digits (default: by ADDRESS's port)",
		more:  "Peers of other networks cannot complete a handshake."},
	{name: "inbound-v1", group: groupInbound, field: func(s *Settings) any { return &s.InboundV1 }, preset: "never", reload: true,
		values: []string{"never", "overlay", "always"},
		usage:  "`WHERE` inbound peers may use plaintext v1: never, overlay (Tor, CJDNS) or always",
		more:   "overlay is where the network encrypts: Tor, which connects from a loopback address, and CJDNS."},
	{name: "inbound-source", group: groupInbound, field: func(s *Settings) any { return &s.InboundSource }, preset: "auto",
		usage: "`SOURCE` address of connections to the node: auto, none or a PREFIX",
		more:  "auto gives each peer its own address in 127.128.0.0/9 (Linux); with none, one misbehaving peer may make the node ban all."},
	{name: "inbound-sessions", group: groupInbound, field: func(s *Settings) any { return &s.InboundSessions }, preset: "125",
		usage: "`NUMBER` of inbound sessions",
		more:  "Set it to the node's own limit of inbound peers."},
	{name: "announce-v2", group: groupInbound, field: func(s *Settings) any { return &s.announceV2 }, reload: true,
		usage: "`IP:PORT` where peers reach --inbound: announce that it speaks v2; repeatable",
		more:  "Bitcoin Core connects with v2 only to addresses that are known to speak it."},
	{name: "message-memory", group: groupLimits, field: func(s *Settings) any { return &s.MessageMemory }, preset: "128",
		usage: "`MIB` of memory for large messages in transit",
		more:  "It holds messages over 16 KiB of all sessions together; further ones wait."},
	{name: "max-sessions", group: groupLimits, field: func(s *Settings) any { return &s.MaxSessions },
		usage: "`NUMBER` of simultaneous sessions (default: by the file descriptor limit, at most 4096)",
		more:  "Further clients are refused."},
	{name: "client-rate", group: groupLimits, field: func(s *Settings) any { return &s.ClientRate }, preset: "20",
		usage: "`NUMBER` of connections a second from one remote address",
		more:  "It applies where --listen is not a loopback address."},
	{name: "status", group: groupStatus, field: func(s *Settings) any { return &s.Status },
		usage: "`ADDRESS` of the status page, such as 127.0.0.1:1325",
		more:  "It may be unix:/PATH[?mode=0660&group=NAME]. Without this setting there is no status page."},
	{name: "status-token", group: groupStatus, field: func(s *Settings) any { return &s.statusToken }, secret: true,
		usage: "`TOKEN` that viewers must give",
		more:  "Required unless --status is a loopback address or a unix socket."},
	{name: "status-token-file", group: groupStatus, field: func(s *Settings) any { return &s.statusTokenFile },
		usage: "`FILE` whose first line is the token",
		more:  "Use it instead of --status-token, which other users can see in the list of processes."},
	{name: "status-host", group: groupStatus, field: func(s *Settings) any { return &s.statusHost },
		usage: "`NAME` or address for the page's URL; repeatable",
		more:  "The status page may be opened under it, besides this machine's addresses."},
	{name: "grace", group: groupGeneral, field: func(s *Settings) any { return &s.Grace }, preset: "5s", reload: true,
		usage: "`TIME` for sessions to end after Ctrl-C",
		more:  "It begins with the first SIGINT or SIGTERM."},
	{name: "log-addresses", group: groupLog, field: func(s *Settings) any { return &s.LogAddresses }, preset: "true", reload: true, guard: "log-addresses",
		usage: "log addresses of clients and peers; --log-addresses=false hides them"},
	{name: "log-level", group: groupLog, field: func(s *Settings) any { return &s.LogLevel }, preset: "info", reload: true,
		values: []string{"debug", "info", "warn", "error"},
		usage:  "least `LEVEL` to log: debug, info, warn or error"},
	{name: "log-format", group: groupLog, field: func(s *Settings) any { return &s.LogFormat }, preset: "text",
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
		if t.orOne && len(given) == 1 && last == "" {
			*field = nil
		}
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
	if last == 0 {
		return values[0]
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// value returns the setting's value in s: a string, int, bool or []string. Durations
// are strings, as in the file.
func (t *setting) value(s *Settings) any {
	switch v := reflect.ValueOf(t.field(s)).Elem().Interface().(type) {
	case []string:
		if t.orOne && len(v) < 2 {
			return strings.Join(v, "")
		}
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
