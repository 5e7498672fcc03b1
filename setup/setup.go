// Package setup finds the Bitcoin programs on this machine and plans what to write into their
// configuration files so that they use the proxy.
//
//	processes, files → plan of each program → its sessions → Report → text or JSON
//
// It changes nothing and keeps no secret: from a file it takes only the keys that it knows. It
// resolves no name. On Linux it opens no connection; elsewhere it connects to ports on loopback.
package setup

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bip324proxy/internal/listen"
	"bip324proxy/status"
)

// Proxy is the proxy that the programs are to use.
type Proxy struct {
	Listen   []string       // its addresses, HOST:PORT or unix:/PATH
	Upstream string         // the URL of its upstream proxy for all connections, or empty
	Onion    string         // that of its upstream proxy for .onion, if there is none for all
	Nodes    []string       // those of --inbound, HOST:PORT
	Page     string         // the address of its status page
	Status   *status.Report // nil if the page does not answer,
	Err      error          // and why
}

// State is the state of a Part.
type State string

// The states. A report is OK unless something is ToDo.
const (
	OK   State = "ok"
	ToDo State = "to do"
	Note State = "note" // optional, or not running
)

// Report is what was found and what is left to do. Its JSON is an interface of the program:
// names keep their meaning.
type Report struct {
	OK    bool   `json:"ok"`
	Parts []Part `json:"parts"`
}

// Part is the proxy, Tor or a Bitcoin program.
type Part struct {
	Name    string   `json:"name"`
	State   State    `json:"state"`
	What    string   `json:"what"`              // the finding
	Hints   []string `json:"hints,omitempty"`   // what to do, or to know
	PID     int      `json:"pid,omitempty"`     // of the process, if one was seen
	Network string   `json:"network,omitempty"` // such as mainnet
	File    string   `json:"file,omitempty"`    // where Add belongs; empty is the command line
	AtEnd   bool     `json:"at_end"`            // Add belongs to the end of File, not to its top
	Create  bool     `json:"create,omitempty"`  // File does not exist
	Remove  []Line   `json:"remove,omitempty"`
	Add     []Line   `json:"add,omitempty"`

	unknown []string // settings that setup cannot plan for; then it prints no lines
}

// Line is a line to write or to remove.
type Line struct {
	Text   string `json:"text"`
	Why    string `json:"why,omitempty"`  // what it changes
	File   string `json:"file,omitempty"` // of a line to remove; empty is the command line
	Number int    `json:"line,omitempty"` // in File, if it is known
}

func (p *Part) add(text, why string) { p.Add = append(p.Add, Line{Text: text, Why: why}) }

func (p *Part) remove(o option, why string) {
	p.Remove = append(p.Remove, Line{Text: o.String(), Why: why, File: o.file, Number: o.line})
}

// unclear records that there is no plan for a program with this option, and why.
func (p *Part) unclear(o option, why string) { p.unknown = append(p.unknown, o.where()+": "+why) }

// one returns the value of the options with that key, as parse returns it, and whether there are any.
// Values that parse does not know, and values that differ, are unclear.
func (p *Part) one(all []option, key string, parse func(string) (string, bool)) (value string, set bool) {
	for _, o := range all {
		if o.key != key {
			continue
		}
		switch v, ok := parse(o.value); {
		case !ok:
			p.unclear(o, "must be 0 or 1; anything else is easily misread")
		case set && v != value:
			p.unclear(o, "it is also set to another value; remove one of them, and run this again")
		default:
			value, set = v, true
		}
	}
	return value, set
}

func (p *Part) hint(text string) { p.Hints = append(p.Hints, text) }

// Look examines this machine, or, if file is not empty, only the program with that
// configuration file. The error is about a file that no known program has.
func Look(proxy Proxy, file string) (*Report, error) {
	all, err := processes()
	m := &machine{proxy: proxy, sockets: sockets()}
	m.silent = proxy.Status == nil && (m.isListening() || !m.isLocal())
	found := candidates(all, file)
	runs := slices.ContainsFunc(found, func(p *process) bool { return p.pid > 0 })
	var parts []Part
	for _, p := range found {
		switch {
		case file != "" && !samePath(p.confFile(), file):
		case file == "" && runs && p.pid == 0:
			path := p.conf
			if !isPath(path) {
				path = "FILE"
			}
			parts = append(parts, Part{Name: p.name, State: Note, File: p.conf, What: "not running; for its lines: bip324-proxy setup " + path})
		default:
			parts = append(parts, m.plan(p))
		}
	}
	if file != "" && len(parts) == 0 {
		var known []string
		for _, k := range kinds {
			if k.plan != nil && k.conf != "" {
				known = append(known, k.conf)
			}
		}
		last := len(known) - 1
		return nil, fmt.Errorf("%q is not a known configuration file; must be %s or %s", file, strings.Join(known[:last], ", "), known[last])
	}
	first := []Part{m.proxyPart()}
	if err != nil {
		first[0].hint("cannot list the running programs: " + err.Error())
	}
	if file == "" {
		first = append(first, m.torPart(all)...)
		if len(parts) == 0 {
			first = append(first, Part{Name: "programs", State: ToDo, What: "found no Bitcoin program",
				Hints: []string{"name its configuration file: bip324-proxy setup FILE; or set its SOCKS5 proxy to " + m.address() + "; docs/clients.md has a recipe for each"}})
		}
	}
	r := &Report{Parts: append(first, parts...)}
	r.OK = !slices.ContainsFunc(r.Parts, func(p Part) bool { return p.State == ToDo })
	return r, nil
}

// machine has what plans depend on.
type machine struct {
	proxy   Proxy
	silent  bool // something listens at the proxy's address, but its upstream is unknown
	sockets []socket
}

// address returns the address at which programs on this machine reach the proxy.
func (m *machine) address() string {
	for _, spec := range m.proxy.Listen {
		if host, port, err := net.SplitHostPort(spec); err == nil && !strings.HasPrefix(spec, "unix:") {
			if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
				host = "127.0.0.1"
			}
			return net.JoinHostPort(host, port)
		}
	}
	if len(m.proxy.Listen) > 0 {
		path, _, _ := strings.Cut(m.proxy.Listen[0], "?")
		return path
	}
	return ""
}

// isProxy reports whether addr, from a program's configuration, is the proxy's.
func (m *machine) isProxy(addr string) bool {
	return slices.ContainsFunc(m.proxy.Listen, func(spec string) bool { return isAt(addr, spec) })
}

// isPage reports whether addr, from a program's configuration, is the status page's.
func (m *machine) isPage(addr string) bool {
	return m.proxy.Status != nil && isAt(addr, m.proxy.Page) && !m.isProxy(addr)
}

// isUpstream reports whether addr, from a program's configuration, is the proxy's upstream.
func (m *machine) isUpstream(addr string) bool {
	return m.proxy.Upstream != "" && m.proxy.Upstream == "socks5://"+addr
}

// isAt reports whether addr, from a program's configuration, reaches the listener spec on this machine.
func isAt(addr, spec string) bool {
	path, _, _ := strings.Cut(spec, "?")
	if addr == path {
		return addr != ""
	}
	to, err := netip.ParseAddrPort(strings.Replace(addr, "localhost:", "127.0.0.1:", 1))
	host, port, err2 := net.SplitHostPort(spec)
	if err != nil || err2 != nil || strconv.Itoa(int(to.Port())) != port {
		return false
	}
	at, err := netip.ParseAddr(cmp.Or(host, "::"))
	return err == nil && (at == to.Addr() || at.IsUnspecified() && to.Addr().IsLoopback() && (at.Is6() || to.Addr().Is4()))
}

const otherProxy = "neither bip324-proxy nor its upstream. To keep another proxy, make it the --upstream of bip324-proxy (docs/tor.md), and run this again; without it peers may see this machine's address. If you want that, remove it, and run this again"

// uses reports whether an option with that key has the proxy's address. It removes those that have
// the address of its upstream or of its status page; all others are unclear.
func (m *machine) uses(part *Part, all []option, key string) (uses bool) {
	for _, o := range all {
		switch {
		case o.key != key:
		case m.isProxy(o.value):
			uses = true
		case m.isPage(o.value):
			part.remove(o, "points at the status page ("+m.proxy.Page+"); must be "+m.address())
		case m.isUpstream(o.value):
			part.remove(o, "the proxy connects through it: it is its upstream")
		case o.value == "" || o.value == "0":
			part.unclear(o, "it turns a proxy off; remove it, and run this again")
		default:
			part.unclear(o, otherProxy)
		}
	}
	return uses
}

const besideProxy = "see “Tor, I2P and CJDNS beside the proxy” in docs/clients.md"

// unclearOnion records the option, a proxy for onion peers, as unclear unless it is this proxy with
// an upstream.
func (m *machine) unclearOnion(part *Part, o option) {
	switch {
	case m.isPage(o.value):
		part.unclear(o, "points at the status page ("+m.proxy.Page+"); must be "+m.address())
	case !m.isProxy(o.value):
		part.unclear(o, "connections to onion peers bypass this proxy; "+besideProxy)
	case m.proxy.Upstream == "" && m.proxy.Onion == "":
		part.unclear(o, "without an --upstream such as Tor the proxy reaches no .onion peer; remove it, and run this again")
	}
}

func (m *machine) proxyPart() Part {
	p := Part{Name: "proxy", State: OK, What: m.address() + ": listening; the status page answers at " + m.proxy.Page}
	switch {
	case m.proxy.Status != nil && len(m.proxy.Status.Listeners) > 0 && len(m.proxy.Status.SOCKS) == 0:
		p.State, p.What = Note, "the status page at "+m.proxy.Page+" is that of a proxy without --listen, such as that of run"
		p.hint("a program with a proxy setting needs a proxy that listens: bip324-proxy")
	case m.proxy.Status != nil:
	case !m.isListening():
		p.State, p.What = ToDo, m.address()+": nothing is listening there"
		page := m.proxy.Page
		if !isAddress(page) {
			page = "HOST:PORT"
		}
		p.hint("start the proxy: bip324-proxy --status " + page)
		if m.proxy.Upstream != "" {
			p.hint("and with the --upstream that you gave to setup")
		}
	default:
		p.State, p.What = ToDo, m.address()+": listening, but its sessions are unknown: "+m.proxy.Err.Error()
	}
	return p
}

// isLocal reports whether the proxy's address is on loopback, where setup can see whether it listens.
func (m *machine) isLocal() bool {
	address, err := listen.Parse(m.address())
	return err == nil && listen.IsLocal(address.NetAddr())
}

// isListening reports whether anything listens at the proxy's address.
func (m *machine) isListening() bool {
	address, err := listen.Parse(m.address())
	if err != nil {
		return false
	}
	if address.Network == "unix" {
		info, err := os.Stat(address.Address)
		return err == nil && info.Mode()&os.ModeSocket != 0
	}
	_, port, _ := net.SplitHostPort(address.Address)
	return isOpen(m.sockets, port)
}

// samePath reports whether both paths name the same file.
func samePath(a, b string) bool {
	if absolute, err := filepath.Abs(b); a == b || err == nil && a == absolute {
		return true
	}
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
