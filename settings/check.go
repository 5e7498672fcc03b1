package settings

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"bip324proxy/announce"
	"bip324proxy/internal/listen"
	"bip324proxy/internal/transparent"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
	"bip324proxy/status"
	"bip324proxy/transport/fallback"
)

// The bounds of settings. What is computed from them, bytes of memory and descriptors
// of sessions, fits an int of 32 bits.
const (
	minMessageMemory = 8                               // MiB, for a message each way
	maxMessageMemory = min(1024*1024, math.MaxInt>>20) // MiB
	maxMaxSessions   = 1_000_000
	maxClientRate    = 1_000_000 // as good as no limit

	minConnectTimeout = time.Second
	maxConnectTimeout = time.Minute
)

// check checks the settings and makes the policy of them. It opens no file but those of
// --auth-file and --status-token-file.
func (s *Settings) check() (err error) {
	switch {
	case s.Grace < 0:
		return s.Invalid("grace", errors.New("must not be negative; 0 ends sessions at once"))
	case s.ConnectTimeout < minConnectTimeout || s.ConnectTimeout > maxConnectTimeout:
		return s.Invalid("connect-timeout", fmt.Errorf("%v is invalid; must be from %v to %v", s.ConnectTimeout, minConnectTimeout, maxConnectTimeout))
	case s.MessageMemory < minMessageMemory || s.MessageMemory > maxMessageMemory:
		return s.Invalid("message-memory", fmt.Errorf("%d is invalid; must be from %d to %d (MiB)", s.MessageMemory, minMessageMemory, maxMessageMemory))
	case s.IsGiven("max-sessions") && s.MaxSessions < 1:
		return s.Invalid("max-sessions", errors.New("must be at least 1; omit it to use the file descriptor limit"))
	case s.MaxSessions > maxMaxSessions:
		return s.Invalid("max-sessions", fmt.Errorf("%d is invalid; must be at most %d", s.MaxSessions, maxMaxSessions))
	case s.ClientRate < 1 || s.ClientRate > maxClientRate:
		return s.Invalid("client-rate", fmt.Errorf("%d is invalid; must be from 1 to %d", s.ClientRate, maxClientRate))
	case len(s.Listen) == 0:
		return s.Invalid("listen", errors.New("must not be empty; omit it for "+strings.ReplaceAll(lookUp("listen").preset, ",", " and ")))
	}
	p := &s.Policy
	p.DenyPassthrough = s.Passthrough == "deny"
	p.HideAddresses = !s.LogAddresses
	p.CJDNSReachable = s.cjdnsReachable
	if p.Dialer.Mode, err = fallback.ParseMode(s.V1Fallback); err != nil {
		return s.Invalid("v1-fallback", err)
	}
	if p.InboundV1, err = fallback.ParseMode(s.InboundV1); err != nil {
		return s.Invalid("inbound-v1", err)
	}
	if p.Announce, err = announce.Parse(s.announceV2); err != nil {
		return s.Invalid("announce-v2", err)
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
	if err := s.checkUpstreams(); err != nil {
		return err
	}
	if p.Rules.Allow, err = parseAll(s.allow, parseRule); err != nil {
		return s.Invalid("allow", err)
	}
	if p.Rules.Deny, err = parseAll(s.deny, parseRule); err != nil {
		return s.Invalid("deny", err)
	}
	if p.Bind, err = proxy.ParseBind(s.bind); err != nil {
		return s.Invalid("bind", err)
	}
	if err := s.checkListeners(); err != nil {
		return err
	}
	if err := s.checkInbound(); err != nil {
		return err
	}
	if err := s.checkShapes(); err != nil {
		return err
	}
	return s.checkStatus()
}

// checkListeners checks the listeners before they are opened.
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
	for _, spec := range s.Transparent {
		if err := s.checkTransparent(spec); err != nil {
			return err
		}
	}
	for _, pair := range s.peer {
		spec, peer, err := splitPeer(pair)
		if err != nil {
			return s.Invalid("peer", err)
		}
		if addr, _ := socks.ParseAddr(peer); addr.IP.Zone() != "" && s.Policy.UpstreamFor(addr) != nil {
			return s.Invalid("peer", fmt.Errorf("%s is a link-local address, which the upstream proxy cannot reach; remove the peer or --upstream", peer))
		}
		if err := check("peer", spec, peer); err != nil {
			return err
		}
		s.PeerListeners = append(s.PeerListeners, PeerListener{spec, peer})
	}
	return nil
}

// CheckListener returns an error if clients that must not could use a listener at addr.
// If peer is not empty, its clients are connected to that peer. openToAll means that all
// local users may connect to the unix socket.
func (s *Settings) CheckListener(addr net.Addr, peer string, openToAll bool) error {
	if err := s.CheckInboundListener(addr); err != nil {
		return err
	}
	switch {
	case openToAll && peer != "":
		return s.Invalid("peer", fmt.Errorf("any local user could connect to %v, and these clients need no password; use a mode that ends in 0, such as 0660", addr))
	case openToAll && s.Policy.Socks.Auth == nil:
		return s.Invalid("listen", fmt.Errorf("any local user could connect to %v; use a mode that ends in 0, such as mode=0660&group=NAME, or add --auth USER:PASSWORD", addr))
	case listen.IsLocal(addr):
	case len(s.Policy.Clients) > 0:
	case peer != "":
		return s.Invalid("peer", fmt.Errorf("%v is not a loopback address, and these clients need no password; add --clients with their addresses, such as 172.30.0.5, or use a loopback address", addr))
	case s.Policy.Socks.Auth == nil:
		return s.Invalid("listen", fmt.Errorf("%v is not a loopback address, and any program that reaches it could use the proxy; "+
			"add --auth USER:PASSWORD, or, for clients that cannot send a password, such as Bitcoin Core, --clients with their addresses, such as 172.30.0.5; or use a loopback address, such as 127.0.0.1:1324", addr))
	}
	return nil
}

// checkTransparent checks an address of --transparent before it is opened.
func (s *Settings) checkTransparent(spec string) error {
	if transparent.Supported() != nil {
		return s.Invalid("transparent", transparent.ErrUnsupported)
	}
	if name, ok := Activated(spec); ok {
		if err := checkActivated(spec, name); err != nil {
			return s.Invalid("transparent", err)
		}
		return nil
	}
	address, err := listen.Parse(spec)
	if err == nil && address.Network == "unix" {
		err = fmt.Errorf("%q is invalid: no connection is redirected to a unix socket; write HOST:PORT, such as 127.0.0.1:1326", spec)
	}
	if err != nil {
		return s.Invalid("transparent", err)
	}
	if addr := address.NetAddr(); addr != nil {
		return s.CheckTransparentListener(addr)
	}
	return nil
}

// CheckTransparentListener is like CheckListener, for redirected clients.
func (s *Settings) CheckTransparentListener(addr net.Addr) error {
	if err := s.CheckInboundListener(addr); err != nil || listen.IsLocal(addr) || len(s.Policy.Clients) > 0 {
		return err
	}
	return s.Invalid("transparent", fmt.Errorf("%v is not a loopback address, and redirected clients cannot send a password; add --clients with their addresses, such as 192.168.1.0/24, or, for programs on this machine, use a loopback address, such as 127.0.0.1:1326", addr))
}

// CheckInboundListener returns an error if an inbound listener at addr makes no sense: it is that
// of an upstream proxy. Any peer may connect there.
func (s *Settings) CheckInboundListener(addr net.Addr) error {
	if slices.ContainsFunc(s.Policy.UpstreamRoutes(), func(r proxy.Route) bool { return r.Upstream.Address == addr.String() }) {
		return s.Invalid("upstream", fmt.Errorf("%v is this proxy's own address; use Tor's, such as socks5://127.0.0.1:9050", addr))
	}
	return nil
}

// processMark separates the streams of this process from those of other programs.
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

// groupNames are words that look like a rule for many destinations, and how such a rule is written.
var groupNames = map[string]string{"all": "*", "any": "*", "onion": "*.onion", "i2p": "*.i2p", "local": "*.local"}

// parseRule parses a rule. A single word that was probably meant to be a rule for many destinations
// is an error, because as the name of one host it would silently match nothing.
func parseRule(text string) (rules.Rule, error) {
	rule, err := rules.ParseRule(text)
	host, _, _ := strings.Cut(text, ":")
	meant := groupNames[strings.ToLower(host)]
	if host != "private" && !strings.Contains(host, ".") && isTypo(strings.ToLower(host), "private") {
		meant = "private"
	}
	if err == nil && meant != "" {
		err = fmt.Errorf("%q is taken as a host name; did you mean %s? If a host has that name, write %s. with a dot", host, meant, host)
	}
	return rule, err
}

// splitPeer parses ADDRESS=PEER.
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

// readSecret calls use with a password or token, if one is given: the value of the
// setting name, or the first line of the file at path, the value of name-file.
func (s *Settings) readSecret(name, value, path string, use func(text string) error) error {
	fileName := name + "-file"
	switch {
	case value != "" && path != "":
		return &Error{s.Where(name) + " and " + s.Where(fileName), errors.New("mutually exclusive; give one of them")}
	case value != "":
		if err := use(value); err != nil {
			return s.Invalid(name, err)
		}
	case path != "":
		text, err := readText(path)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Where(fileName), err)
		}
		if err := use(firstLine(text)); err != nil {
			return s.Invalid(fileName, fmt.Errorf("%s: %w", path, err))
		}
	}
	return nil
}

// parseCredentials parses USER:PASSWORD. The password may have colons. An empty one is
// most likely a variable that is not set.
func parseCredentials(pair string) (*socks.Credentials, error) {
	user, password, ok := strings.Cut(pair, ":")
	if !ok || user == "" || password == "" || len(user) > 255 || len(password) > 255 {
		return nil, errors.New("write USER:PASSWORD, 1 to 255 bytes each")
	}
	return &socks.Credentials{Username: user, Password: password}, nil
}

// checkStatus checks the settings of the status page before it is opened.
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
		return s.Invalid("status", fmt.Errorf("any local user could connect to %s; use a mode that ends in 0, such as mode=0660&group=NAME, or add --status-token TOKEN", address.Address))
	}
	if addr := address.NetAddr(); addr != nil {
		return s.CheckStatusListener(addr)
	}
	return nil
}

// CheckStatusListener returns an error if anyone could see a status page at addr.
func (s *Settings) CheckStatusListener(addr net.Addr) error {
	if s.Token == "" && !listen.IsLocal(addr) {
		return s.Invalid("status", fmt.Errorf("%v is not a loopback address, and anyone who can reach it could see all connections; "+
			"add --status-token TOKEN, or use a loopback address, such as 127.0.0.1:1325", addr))
	}
	return nil
}
