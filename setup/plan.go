package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// maxUnknown is how many of the settings that setup cannot plan for it prints.
const maxUnknown = 10

// plan returns what is left to do for a program.
func (m *machine) plan(p *process) Part {
	part := Part{Name: p.name, PID: p.pid}
	where := "not seen running"
	if p.pid > 0 {
		where = fmt.Sprintf("process %d", p.pid)
	}
	if p.apart != "" {
		m.watch(&process{kind: p.kind}, &part, where+" in "+p.apart)
		if part.State == ToDo {
			part.What = where + " runs in " + p.apart + ", whose 127.0.0.1 is not this machine's; the proxy has no session from it"
			part.Hints = append(m.notAllowed(), "see “In another container or on another machine” in docs/clients.md")
		}
		return part
	}
	if p.hidden {
		part.State, part.What = ToDo, where+": its network and its files cannot be seen"
		part.hint("run this as its owner, or with sudo")
		return part
	}
	if file := p.confFile(); file != "" && !filepath.IsAbs(file) {
		part.State, part.What = ToDo, where+": its working directory cannot be read, and "+file+" is relative to it"
		part.hint("run this as its owner, or with sudo")
		return part
	}
	p.kind.plan(m, p, &part)
	if _, err := os.Stat(part.File); part.File != "" && errors.Is(err, fs.ErrNotExist) {
		part.Create = true
	}
	if m.silent && part.What == "" && part.State == "" {
		part.unknown = append(part.unknown, "the upstream of the proxy at "+m.address()+" is unknown: its status page does not answer. Run the proxy with --status, and give setup the same settings")
	}
	if address, isUnix := strings.CutPrefix(m.address(), "unix:"); !isAddress(address) && !(isUnix && isPath(address)) {
		part.unknown = append(part.unknown, "the proxy's address, which is neither HOST:PORT nor unix:/PATH of plain characters")
	}
	if part.Network != "" {
		where += " on " + part.Network
	}
	switch {
	case part.What == "" && m.isRedirected(p, &part):
		part = Part{Name: part.Name, PID: part.PID, Network: part.Network}
		m.watch(p, &part, where+": redirected to the proxy by the system")
	case part.What != "": // it needs nothing
		part.What = where + ": " + part.What
	case part.State == ToDo:
		part.What = where
	case len(part.unknown) > 0:
		part.State, part.What = ToDo, where+": setup prints no lines, for these reasons:"
		part.Add, part.Remove, part.Hints = nil, nil, part.unknown
		if more := len(part.unknown) - maxUnknown; more > 0 {
			part.Hints = append(slices.Clone(part.unknown[:maxUnknown]), fmt.Sprintf("and %d more", more))
		}
	case len(part.Add)+len(part.Remove) > 0:
		part.State, part.What = ToDo, where+": not configured"
		if strings.HasPrefix(m.address(), "unix:") && p.name != "Bitcoin Core" {
			part.Add = nil
			part.hint("it needs a TCP address: run the proxy with --listen 127.0.0.1:1324, too")
		}
	default:
		if p.pid > 0 || p.conf != "" { // its file was read
			where += ": configured"
		}
		m.watch(p, &part, where)
	}
	return part
}

// isRedirected reports whether the system redirects the program's connections to the proxy: their
// client has not connected from a loopback address, as one with a proxy setting has.
func (m *machine) isRedirected(p *process, part *Part) bool {
	if m.proxy.Status == nil || len(m.proxy.Status.Transparent) == 0 || p.inodes == nil {
		return false
	}
	return slices.ContainsFunc(m.proxy.Status.Sessions, func(s proxy.SessionInfo) bool {
		client, err := netip.ParseAddrPort(s.Client)
		return err == nil && !client.Addr().IsLoopback() && s.Transport != "" && m.isFrom(p, part, &s)
	})
}

// watch reports the sessions of a configured program.
func (m *machine) watch(p *process, part *Part, where string) {
	part.State, part.What = ToDo, where
	if m.proxy.Status == nil {
		part.hint("its sessions are unknown, because the proxy's status page does not answer")
		return
	}
	counts := make(map[string]int)
	for _, s := range m.proxy.Status.Sessions {
		if s.Transport == "" || !m.isFrom(p, part, &s) {
			continue
		}
		transport := s.Transport
		switch {
		case s.Plaintext():
			transport = "v1, in plaintext"
		case transport == "v1":
			transport = "v1 over an encrypted network"
		case transport == "passthrough":
			transport = "passed through (its own v2, or not Bitcoin)"
		}
		counts[transport]++
	}
	if len(counts) == 0 {
		part.What += ", but the proxy has no session from it"
		part.hint(m.missing(p, part))
		return
	}
	sum, words := 0, []string{}
	for transport, n := range counts {
		sum += n
		words = append(words, fmt.Sprintf("%d %s", n, transport))
	}
	slices.Sort(words)
	part.State = OK
	sessions := "sessions"
	if sum == 1 {
		sessions = "session"
	}
	part.What += fmt.Sprintf("; %d %s: %s", sum, sessions, strings.Join(words, ", "))
}

// isFrom reports whether a session's client is the program.
func (m *machine) isFrom(p *process, part *Part, s *proxy.SessionInfo) bool {
	if p.inodes != nil && s.Client != "unix" {
		return slices.ContainsFunc(m.sockets, func(k socket) bool {
			return k.local.String() == s.Client && slices.Contains(p.inodes, k.inode)
		})
	}
	if s.ClientAgent != "" {
		return strings.Contains(s.ClientAgent, p.agent) && (part.Network == "" || s.Network == "" || s.Network == part.Network)
	}
	network, err := transport.ParseNetwork(part.Network)
	_, port, _ := net.SplitHostPort(s.Dest)
	return err == nil && s.Transport == "passthrough" && port == network.Port // its own v2
}

// notAllowed returns a hint about each client that the proxy refuses by its address.
func (m *machine) notAllowed() (hints []string) {
	if m.proxy.Status == nil {
		return nil
	}
	for _, o := range m.proxy.Status.Refusals {
		if o.Kind == proxy.KindClientNotAllowed {
			hints = append(hints, strings.TrimSuffix("the proxy refuses a client, perhaps this one: "+o.Reason+"; "+o.Hint, "; "))
		}
	}
	return hints
}

// missing returns why the proxy may have no session from a configured program.
func (m *machine) missing(p *process, part *Part) string {
	info, err := os.Stat(part.File)
	switch f := m.proxy.Status.Failing; {
	case p.pid == 0:
		return "start it"
	case err == nil && info.ModTime().After(p.started) && !p.started.IsZero():
		return "restart it: " + part.File + " was changed after it started"
	case f != nil:
		return strings.TrimSuffix("connections fail: "+f.Reason+"; "+f.Hint, "; ")
	}
	return "wait a minute, and run this again; if there is still none, restart it, and check that it reads " + cmp.Or(part.File, "these flags") + " and has peers to connect to"
}
