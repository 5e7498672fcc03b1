package settings

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/status"
	"bip324proxy/transport/fallback"
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

// check finds what is wrong with settings one by one and together, and makes their
// policy. It opens nothing but the file of --auth-file.
func (s *Settings) check() (err error) {
	switch {
	case s.Grace < 0:
		return s.Invalid("grace", errors.New("a time cannot be negative; 0 ends sessions at once"))
	case s.connectTimeout < minConnectTimeout || s.connectTimeout > maxConnectTimeout:
		return s.Invalid("connect-timeout", fmt.Errorf("%v is invalid; must be from %v to %v", s.connectTimeout, minConnectTimeout, maxConnectTimeout))
	case s.MessageMemory < minMessageMemory || s.MessageMemory > maxMessageMemory:
		return s.Invalid("message-memory", fmt.Errorf("must be from %d (MiB), for a message each way, to %d", minMessageMemory, maxMessageMemory))
	case s.IsGiven("max-sessions") && s.MaxSessions < 1:
		return s.Invalid("max-sessions", errors.New("there must be one at least; leave it out for as many as there are descriptors for"))
	case s.MaxSessions > maxMaxSessions:
		return s.Invalid("max-sessions", fmt.Errorf("must be at most %d", maxMaxSessions))
	case s.ClientRate < 1:
		return s.Invalid("client-rate", errors.New("it must be one a second at least"))
	case s.ClientRate > 1_000_000:
		return s.Invalid("client-rate", errors.New("a million a second is as good as no limit; write no more"))
	case len(s.Listen) == 0:
		return s.Invalid("listen", errors.New("there must be one at least; leave it out for "+strings.ReplaceAll(lookUp("listen").preset, ",", " and ")))
	}
	p := &s.Policy
	p.DenyPassthrough = s.Passthrough == "deny"
	p.HideAddresses = !s.LogAddresses
	p.CJDNSReachable = s.cjdnsReachable
	if p.Dialer.Mode, err = fallback.ParseMode(s.V1Fallback); err != nil {
		return s.Invalid("v1-fallback", err)
	}
	if err = s.readSecret("auth", s.auth, s.AuthFile, func(pair string) (err error) {
		p.Socks.Auth, err = parseCredentials(pair)
		return err
	}); err != nil {
		return err
	}
	if p.Clients, err = rules.ParseClients(s.Clients); err != nil {
		return s.Invalid("clients", err)
	}
	if s.upstream == "" {
		p.Dialer.DialTimeout = s.connectTimeout
	} else { // what that takes to connect is its own matter
		if p.Upstream, err = socks.ParseUpstream(s.upstream); err != nil {
			return s.Invalid("upstream", err)
		}
		p.Upstream.ConnectTimeout = s.connectTimeout
		if p.Socks.Auth != nil { // these are for this proxy, and clients have no others
			p.Upstream.Mark = processMark()
		}
	}
	if p.Rules.Allow, err = parseAll(s.allow, rules.ParseRule); err != nil {
		return s.Invalid("allow", err)
	}
	if p.Rules.Deny, err = parseAll(s.deny, rules.ParseRule); err != nil {
		return s.Invalid("deny", err)
	}
	if err := s.checkListeners(); err != nil {
		return err
	}
	return s.checkStatus()
}

// checkListeners is what of the listeners can be judged before they are opened.
func (s *Settings) checkListeners() error {
	check := func(name, spec, peer string) error {
		address, err := listen.Parse(spec)
		if err != nil {
			return s.Invalid(name, err)
		}
		if addr := address.NetAddr(); addr != nil {
			return s.CheckListener(addr, peer, address.OpenToAll())
		}
		return nil
	}
	for _, spec := range s.Listen {
		if err := check("listen", spec, ""); err != nil {
			return err
		}
	}
	for _, pair := range s.peer {
		spec, peer, err := splitPeer(pair)
		if err != nil {
			return s.Invalid("peer", err)
		}
		if addr, _ := socks.ParseAddr(peer); s.upstream != "" && addr.IP.Zone() != "" {
			return s.Invalid("peer", fmt.Errorf("%s is an address of a network that this machine is in; the upstream proxy cannot connect to it: leave out the peer, or --upstream", peer))
		}
		if err := check("peer", spec, peer); err != nil {
			return err
		}
		s.PeerListeners = append(s.PeerListeners, PeerListener{spec, peer})
	}
	return nil
}

// CheckListener returns an error if a listener at addr, whose clients are connected to
// peer if there is one, would be open to whom it must not. openToAll is about a socket
// file: all users of this machine may connect to it.
func (s *Settings) CheckListener(addr net.Addr, peer string, openToAll bool) error {
	switch {
	case s.Policy.Upstream != nil && s.Policy.Upstream.Address == addr.String():
		return s.Invalid("upstream", fmt.Errorf("%v is this proxy itself; give Tor's address, such as socks5://127.0.0.1:9050", addr))
	case openToAll && peer != "":
		return s.Invalid("peer", fmt.Errorf("every user of this machine could connect to %v, and these clients are not asked for a password; write a mode that ends in 0, such as 0660", addr))
	case openToAll && s.Policy.Socks.Auth == nil:
		return s.Invalid("listen", fmt.Errorf("every user of this machine could connect to %v; write a mode that ends in 0, such as mode=0660&group=NAME, or add --auth USER:PASSWORD", addr))
	case listen.IsLocal(addr):
	case len(s.Policy.Clients) > 0:
	case peer != "":
		return s.Invalid("peer", fmt.Errorf("%v is not a loopback address, and these clients are not asked for a password; add --clients with their addresses, such as 172.30.0.5, or take a loopback address", addr))
	case s.Policy.Socks.Auth == nil:
		return s.Invalid("listen", fmt.Errorf("%v is not a loopback address, and any program that reaches it could use the proxy; "+
			"add --auth USER:PASSWORD, or, for clients that can be given no password, such as Bitcoin Core, --clients with their addresses, such as 172.30.0.5; or take a loopback address, such as 127.0.0.1:1324", addr))
	}
	return nil
}

// processMark tells the streams of this process apart from those of other programs.
var processMark = sync.OnceValue(func() socks.Credentials {
	mark := rand.Text()
	return socks.Credentials{Username: mark, Password: mark}
})

// parseAll parses each of texts.
func parseAll[T any](texts []string, parse func(string) (T, error)) (all []T, err error) {
	for _, text := range texts {
		parsed, err := parse(text)
		if err != nil {
			return nil, err
		}
		all = append(all, parsed)
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

// readSecret has use take a password or token: the value of the setting of that name,
// or the first line of the file that NAME-file gives.
func (s *Settings) readSecret(name, value, path string, use func(text string) error) error {
	fileName := name + "-file"
	switch {
	case value != "" && path != "":
		return &Error{s.Where(name) + " and " + s.Where(fileName), errors.New("give one of them")}
	case value != "":
		if err := use(value); err != nil {
			return s.Invalid(name, err)
		}
	case path != "":
		text, err := readText(path)
		if errors.As(err, new(*Error)) {
			return s.Invalid(fileName, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Where(fileName), err)
		}
		if err := use(firstLine(text)); err != nil {
			return s.Invalid(fileName, fmt.Errorf("%s: %w", path, err))
		}
	}
	return nil
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

// checkStatus is what of the status page can be judged before it is opened. It
// opens nothing but the file of --status-token-file.
func (s *Settings) checkStatus() (err error) {
	err = s.readSecret("status-token", s.statusToken, s.statusTokenFile, func(token string) error {
		if s.statusTokenFile != "" {
			token = strings.TrimSpace(token) // a token has no space
		}
		s.Token = token
		return status.CheckToken(token)
	})
	if err != nil {
		return err
	}
	if s.Hosts, err = parseAll(s.statusHost, status.ParseHost); err != nil {
		return s.Invalid("status-host", err)
	}
	if s.Status == "" {
		return nil
	}
	address, err := listen.Parse(s.Status)
	if err != nil {
		return s.Invalid("status", err)
	}
	if address.OpenToAll() && s.Token == "" {
		return s.Invalid("status", fmt.Errorf("every user of this machine could connect to %s; write a mode that ends in 0, such as mode=0660&group=NAME, or add --status-token TOKEN", address.Address))
	}
	if addr := address.NetAddr(); addr != nil {
		return s.CheckStatusListener(addr)
	}
	return nil
}

// CheckStatusListener returns an error if the status page at addr would be open to whom it
// must not.
func (s *Settings) CheckStatusListener(addr net.Addr) error {
	if s.Token == "" && !listen.IsLocal(addr) {
		return s.Invalid("status", fmt.Errorf("%v is not on this machine alone, and whoever reaches it could see who is connected to whom; "+
			"add --status-token TOKEN, or take a loopback address, such as 127.0.0.1:1325", addr))
	}
	return nil
}
