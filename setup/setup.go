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
	"strings"

	"bip324proxy/internal/listen"
	"bip324proxy/status"
)

// Proxy is the proxy that the programs are to use.
type Proxy struct {
	Listen   []string       // its addresses, HOST:PORT or unix:/PATH
	Upstream string         // the URL of its upstream proxy, or empty
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

	direct string // if not empty, why its lines would lead to direct connections
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

func (p *Part) hint(text string) { p.Hints = append(p.Hints, text) }

// Look examines this machine, or, if file is not empty, only the program with that
// configuration file. The error is about a file that no known program has.
func Look(proxy Proxy, file string) (*Report, error) {
	all, err := processes()
	m := &machine{proxy: proxy, upstream: proxy.Upstream, sockets: sockets()}
	for _, p := range all {
		if p.name == "bip324-proxy" {
			m.own = append(m.own, p)
		}
	}
	found := candidates(all, file)
	runs := slices.ContainsFunc(found, func(p *process) bool { return p.pid > 0 })
	var parts []Part
	for _, p := range found {
		switch {
		case file != "" && !samePath(p.confFile(), file):
		case file == "" && runs && p.pid == 0:
			parts = append(parts, Part{Name: p.name, State: Note, File: p.conf, What: "not running; for its lines: bip324-proxy setup " + p.conf})
		default:
			parts = append(parts, m.plan(p))
		}
	}
	if file != "" && len(parts) == 0 {
		return nil, fmt.Errorf("%q is not a known configuration file; must be %s", file, strings.Join(files(), ", "))
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
	proxy    Proxy
	upstream string // the URL of the proxy's upstream, or of the one that a program needs
	sockets  []socket
	own      []*process // proxies like this one
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
	return slices.ContainsFunc(append([]string{m.address()}, m.proxy.Listen...), func(spec string) bool { return isAt(addr, spec) })
}

// isPage reports whether a program that has this address mistakes the status page for the proxy.
func (m *machine) isPage(addr string) bool { return isAt(addr, m.proxy.Page) && !m.isProxy(addr) }

// isAt reports whether addr, as a program has it, is that of the listener spec.
func isAt(addr, spec string) bool {
	addr = strings.TrimPrefix(addr, "socks5://")
	path, _, _ := strings.Cut(spec, "?")
	return addr != "" && (addr == path || strings.Replace(addr, "localhost:", "127.0.0.1:", 1) == path)
}

// removeOther removes a line that has the address of another proxy; why says why it must go.
func (m *machine) removeOther(part *Part, o option, addr, why string) {
	if m.isPage(addr) {
		why = "points at the status page (" + m.proxy.Page + "); must be " + m.address()
	} else {
		m.replaces(part, addr, &o)
	}
	part.remove(o, why)
}

// replaces records in part that the program now uses another proxy, set by o or, if o is nil, by
// default. If the proxy has no upstream, it needs that one: it would otherwise connect to peers
// directly.
func (m *machine) replaces(part *Part, addr string, o *option) {
	if m.proxy.Upstream != "" || m.isOwn(addr) {
		return
	}
	url := "socks5://" + addr
	if path, isPath := strings.CutPrefix(addr, "unix:"); isPath {
		url = "socks5+unix://" + path
	} else if strings.LastIndex(addr, ":") <= strings.LastIndex(addr, "]") {
		url += ":9050" // Core's default
	}
	m.upstream = cmp.Or(m.upstream, url)
	where := ""
	if o != nil && o.line > 0 {
		where = fmt.Sprintf(", by line %d of %s", o.line, o.file)
	}
	part.direct = "it uses the proxy " + addr + where + ". Without an upstream bip324-proxy would connect to peers directly, and they would see this machine's address. " +
		"Run bip324-proxy with --upstream " + url + ", then run this again for the lines to write. If you want direct connections, remove that proxy from its settings first"
}

// isOwn reports whether another bip324-proxy listens at the address.
func (m *machine) isOwn(addr string) bool {
	return slices.ContainsFunc(m.sockets, func(s socket) bool {
		return s.listening && s.local.String() == addr &&
			slices.ContainsFunc(m.own, func(p *process) bool { return slices.Contains(p.inodes, s.inode) })
	})
}

func (m *machine) proxyPart() Part {
	p := Part{Name: "proxy", State: OK, What: m.address() + ": listening; the status page answers at " + m.proxy.Page}
	flags := " --status " + m.proxy.Page
	if m.upstream != "" {
		flags = " --upstream " + m.upstream + flags
	}
	switch {
	case m.proxy.Status != nil:
	case !m.isListening():
		p.State, p.What = ToDo, m.address()+": nothing is listening there"
		p.hint("start the proxy: bip324-proxy" + flags)
	default:
		p.State, p.What = ToDo, m.address()+": listening, but its sessions are unknown: "+m.proxy.Err.Error()
	}
	return p
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
