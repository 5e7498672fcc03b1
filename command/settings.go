package command

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"bip324proxy/transport/fallback"

	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/status"
)

// The bounds of settings. What is reckoned from them fits an int of 32 bits where ints
// have that many: bytes of memory, descriptors of sessions.
const (
	minMessageMemory = 8                               // MiB
	maxMessageMemory = min(1024*1024, math.MaxInt>>20) // MiB
	maxMaxSessions   = 1_000_000

	minConnectTimeout = time.Second
	maxConnectTimeout = time.Minute
)

// settings are what the program is to do. To add one, add a field here, a row to
// the table, and to check what there is to check; where it is used it is read from
// here.
type settings struct {
	config          string
	listen          []string
	auth            string
	authFile        string
	clients         []string
	upstream        string
	connectTimeout  time.Duration
	v1Fallback      string
	cjdnsReachable  bool
	peerMemory      string
	allow, deny     []string
	passthrough     string
	peer            []string
	messageMemory   int // MiB
	maxSessions     int // 0 for what the descriptor limit is enough for
	clientRate      int // connections a second
	status          string
	statusToken     string
	statusTokenFile string
	statusHost      []string
	grace           time.Duration
	logAddresses    bool
	logLevel        string
	logFormat       string

	origins map[string]origin // of those that are not the default
	policy  proxy.Policy      // what they come to, but for the memory of peers
	token   string            // of the status page, or empty
	hosts   []string          // of the status page
}

// settingError is what is wrong with a setting. It may have the value in it.
type settingError struct {
	where string // the name that it was given by, or the line
	err   error
}

func (e *settingError) Error() string { return e.where + ": " + e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }

// wrong is an error about a setting.
func (s *settings) wrong(name string, err error) error {
	return usageError{&settingError{s.given(name), err}}
}

func (s *settings) given(name string) string { return s.origins[name].of(lookUp(name)) }

// check finds what is wrong with settings one by one and together, and makes their
// policy. It opens nothing but the file of --auth-file.
func (s *settings) check() (err error) {
	_, sessionsGiven := s.origins["max-sessions"]
	switch {
	case s.grace < 0:
		return s.wrong("grace", errors.New("a time cannot be negative; 0 ends sessions at once"))
	case s.connectTimeout < minConnectTimeout || s.connectTimeout > maxConnectTimeout:
		return s.wrong("connect-timeout", fmt.Errorf("%v is invalid; must be from %v to %v", s.connectTimeout, minConnectTimeout, maxConnectTimeout))
	case s.messageMemory < minMessageMemory || s.messageMemory > maxMessageMemory:
		return s.wrong("message-memory", fmt.Errorf("must be from %d (MiB), for a message each way, to %d", minMessageMemory, maxMessageMemory))
	case sessionsGiven && s.maxSessions < 1:
		return s.wrong("max-sessions", errors.New("there must be one at least; leave it out for as many as there are descriptors for"))
	case s.maxSessions > maxMaxSessions:
		return s.wrong("max-sessions", fmt.Errorf("must be at most %d", maxMaxSessions))
	case s.clientRate < 1:
		return s.wrong("client-rate", errors.New("it must be one a second at least"))
	case s.clientRate > 1_000_000:
		return s.wrong("client-rate", errors.New("a million a second is as good as no limit; write no more"))
	case len(s.listen) == 0:
		return s.wrong("listen", errors.New("there must be one at least; leave it out for "+strings.ReplaceAll(lookUp("listen").preset, ",", " and ")))
	}
	p := &s.policy
	p.DenyPassthrough = s.passthrough == "deny"
	p.HideAddresses = !s.logAddresses
	p.CJDNSReachable = s.cjdnsReachable
	if p.Dialer.Mode, err = fallback.ParseMode(s.v1Fallback); err != nil {
		return s.wrong("v1-fallback", err)
	}
	if p.Socks.Auth, err = s.credentials(); err != nil {
		return err
	}
	if p.Clients, err = rules.ParseClients(s.clients); err != nil {
		return s.wrong("clients", err)
	}
	if s.upstream == "" {
		p.Dialer.DialTimeout = s.connectTimeout
	} else { // what that takes to connect is its own matter
		if p.Upstream, err = socks.ParseUpstream(s.upstream); err != nil {
			return s.wrong("upstream", err)
		}
		p.Upstream.ConnectTimeout = s.connectTimeout
		if p.Socks.Auth != nil { // these are for this proxy, and clients have no others
			p.Upstream.Mark = processMark()
		}
	}
	if p.Rules.Allow, err = parseRules(s.allow); err != nil {
		return s.wrong("allow", err)
	}
	if p.Rules.Deny, err = parseRules(s.deny); err != nil {
		return s.wrong("deny", err)
	}
	if err := s.checkListeners(); err != nil {
		return err
	}
	return s.checkStatus()
}

// sessions is how many there may be at a time.
func (s *settings) sessions() int {
	return cmp.Or(s.maxSessions, proxy.DefaultMaxSessions(s.descriptors()))
}

// descriptors is how many are needed for what is not the server's.
func (s *settings) descriptors() int {
	if s.status == "" {
		return 0
	}
	return status.MaxConns + 3 // with a new one before another is closed, the listener, and a file of /proc for the metrics
}

// checkListeners is what of the listeners can be judged before they are opened.
func (s *settings) checkListeners() error {
	check := func(name, spec, peer string) error {
		address, err := listen.Parse(spec)
		if err != nil {
			return s.wrong(name, err)
		}
		if addr := address.NetAddr(); addr != nil {
			return s.mayListen(addr, peer, address.OpenToAll())
		}
		return nil
	}
	for _, spec := range s.listen {
		if err := check("listen", spec, ""); err != nil {
			return err
		}
	}
	for _, pair := range s.peer {
		spec, peer, err := splitPeer(pair)
		if err != nil {
			return s.wrong("peer", err)
		}
		if addr, _ := socks.ParseAddr(peer); s.upstream != "" && addr.IP.Zone() != "" {
			return s.wrong("peer", fmt.Errorf("%s is an address of a network that this machine is in; the upstream proxy cannot connect to it: leave out the peer, or --upstream", peer))
		}
		if err := check("peer", spec, peer); err != nil {
			return err
		}
	}
	return nil
}

// mayListen returns an error if a listener at addr, whose clients are connected to
// peer if there is one, would be open to whom it must not. openToAll is about a socket
// file: all users of this machine may connect to it.
func (s *settings) mayListen(addr net.Addr, peer string, openToAll bool) error {
	switch {
	case s.policy.Upstream != nil && s.policy.Upstream.Address == addr.String():
		return s.wrong("upstream", fmt.Errorf("%v is this proxy itself; give Tor's address, such as socks5://127.0.0.1:9050", addr))
	case openToAll && peer != "":
		return s.wrong("peer", fmt.Errorf("every user of this machine could connect to %v, and these clients are not asked for a password; write a mode that ends in 0, such as 0660", addr))
	case openToAll && s.policy.Socks.Auth == nil:
		return s.wrong("listen", fmt.Errorf("every user of this machine could connect to %v; write a mode that ends in 0, such as mode=0660&group=NAME, or add --auth USER:PASSWORD", addr))
	case listen.IsLocal(addr):
	case len(s.policy.Clients) > 0:
	case peer != "":
		return s.wrong("peer", fmt.Errorf("%v is not a loopback address, and these clients are not asked for a password; add --clients with their addresses, such as 172.30.0.5, or take a loopback address", addr))
	case s.policy.Socks.Auth == nil:
		return s.wrong("listen", fmt.Errorf("%v is not a loopback address, and any program that reaches it could use the proxy; "+
			"add --auth USER:PASSWORD, or, for clients that can be given no password, such as Bitcoin Core, --clients with their addresses, such as 172.30.0.5; or take a loopback address, such as 127.0.0.1:1324", addr))
	}
	return nil
}

// processMark tells the streams of this process apart from those of other programs.
var processMark = sync.OnceValue(func() socks.Credentials {
	mark := rand.Text()
	return socks.Credentials{Username: mark, Password: mark}
})

func parseRules(texts []string) (all []rules.Rule, err error) {
	for _, text := range texts {
		rule, err := rules.ParseRule(text)
		if err != nil {
			return nil, err
		}
		all = append(all, rule)
	}
	return all, nil
}

// splitPeer reads a --peer: ADDRESS=PEER.
func splitPeer(pair string) (listen, peer string, err error) {
	i := strings.LastIndexByte(pair, '=') // ADDRESS may have options
	if i >= 0 {
		listen, peer = pair[:i], pair[i+1:]
	}
	if _, err := socks.ParseAddr(peer); i < 0 || err != nil {
		return "", "", fmt.Errorf("%q is not ADDRESS=PEER; write 127.0.0.1:38401=HOST:PORT", pair)
	}
	return listen, peer, nil
}

// credentials are what SOCKS clients must give, or nil.
func (s *settings) credentials() (*socks.Credentials, error) {
	switch {
	case s.auth == "" && s.authFile == "":
		return nil, nil
	case s.auth != "" && s.authFile != "":
		return nil, usageError{fmt.Errorf("%s and %s: give one of them", s.given("auth"), s.given("auth-file"))}
	case s.auth != "":
		c, err := parseCredentials(s.auth)
		if err != nil {
			return nil, s.wrong("auth", err)
		}
		return c, nil
	}
	pair, err := s.readLine("auth-file", s.authFile)
	if err != nil {
		return nil, err
	}
	c, err := parseCredentials(pair)
	if err != nil {
		return nil, s.wrong("auth-file", fmt.Errorf("%s: %w", s.authFile, err))
	}
	return c, nil
}

// hasOuterSpace reports whether the user name and password of auth-file begin or end with
// a space, which SOCKS clients would have to give, too.
func (s *settings) hasOuterSpace() bool {
	c := s.policy.Socks.Auth
	return s.authFile != "" && c != nil && strings.TrimSpace(c.Username+":"+c.Password) != c.Username+":"+c.Password
}

// parseCredentials reads USER:PASSWORD. The password may have colons. None at all is
// most likely a variable that is not set.
func parseCredentials(pair string) (*socks.Credentials, error) {
	user, password, ok := strings.Cut(pair, ":")
	if !ok || user == "" || password == "" || len(user) > 255 || len(password) > 255 {
		return nil, errors.New("write USER:PASSWORD, of 1 to 255 bytes each")
	}
	return &socks.Credentials{Username: user, Password: password}, nil
}

// exposed are the files with a password that every user of this machine can read.
func (s *settings) exposed() (files []string) {
	if runtime.GOOS == "windows" { // it has no such modes
		return nil
	}
	inFile := func(name string) bool { return s.origins[name].line > 0 }
	secret := s.auth != "" && inFile("auth") || s.statusToken != "" && inFile("status-token") || s.policy.Upstream != nil && s.policy.Upstream.Credentials != nil && inFile("upstream")
	for file, has := range map[string]bool{s.config: secret, s.authFile: s.authFile != "", s.statusTokenFile: s.statusTokenFile != ""} {
		if info, err := os.Stat(file); has && err == nil && info.Mode().IsRegular() && info.Mode()&0o004 != 0 {
			files = append(files, file)
		}
	}
	return files
}
