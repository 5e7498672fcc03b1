package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bip324proxy/transport"
)

// coreKeys are the keys of Bitcoin Core's configuration that are read; each may have "no" in front.
var coreKeys = func() (keys []string) {
	for _, k := range []string{"proxy", "onion", "listen", "v2transport", "discover", "externalip", "bind", "whitebind", "connect",
		"datadir", "conf", "settings", "includeconf", "chain", "regtest", "testnet", "testnet4", "signet"} {
		keys = append(keys, k, "no"+k)
	}
	return keys
}()

// coreConfig is Bitcoin Core's configuration: by source, in the order in which Core reads them.
type coreConfig struct {
	flags, settings, section, top []option
	file                          string // bitcoin.conf; empty with -noconf
	network                       string
}

func (c *coreConfig) sources() [][]option {
	return [][]option{c.flags, c.settings, c.section, c.top}
}

// all returns the values of a key from all sources, and of its negation.
func (c *coreConfig) all(key string) (all []option) {
	for _, o := range slices.Concat(c.sources()...) {
		if o.key == key || o.key == "no"+key {
			all = append(all, o)
		}
	}
	return all
}

// value returns the value of key that is in force: the last one of flags and settings, or else
// the first one of lines. A negation cancels the values before it.
func (c *coreConfig) value(key string) (value string, ok bool) {
	for i, source := range c.sources() {
		var values []string
		negated := false
		for _, o := range source {
			switch {
			case o.key == "no"+key && !o.off():
				values, negated = nil, true
			case o.key == "no"+key:
				values = append(values, "1")
			case o.key == key:
				values = append(values, o.value)
			}
		}
		switch {
		case len(values) > 0 && i < 2:
			return values[len(values)-1], true
		case len(values) > 0:
			return values[0], true
		case negated:
			return "0", true
		}
	}
	return "", false
}

func (c *coreConfig) is(key string, otherwise bool) bool {
	value, ok := c.value(key)
	if !ok {
		return otherwise
	}
	return value != "0" && value != "false"
}

// coreDirs returns Core's data directory and configuration file, which is empty with -noconf.
func (p *process) coreDirs(flags []option) (dir, file string) {
	dir = p.dataDir(p.home)
	if p.pid == 0 {
		dir = filepath.Dir(p.conf)
	}
	if d, ok := last(flags, "datadir"); ok {
		dir = joined(p.dir, "", d)
	}
	c := coreConfig{flags: flags}
	name, ok := c.value("conf")
	switch {
	case p.pid == 0:
		return dir, p.conf
	case !ok:
		name = "bitcoin.conf"
	case name == "0":
		return dir, ""
	}
	return dir, joined(dir, "", name)
}

// chains has the networks by their names in Core: in -chain, its own flag, and settings.json's directory.
var chains = []struct{ chain, flag, dir, network string }{
	{"main", "", "", "mainnet"},
	{"test", "testnet", "testnet3", "testnet3"},
	{"testnet4", "testnet4", "testnet4", "testnet4"},
	{"signet", "signet", "signet", "signet"},
	{"regtest", "regtest", "regtest", "regtest"},
}

// readCore reads Core's configuration.
func (p *process) readCore() (*coreConfig, error) {
	c := &coreConfig{flags: parseFlags(p.args, coreKeys)}
	dir, file := p.coreDirs(c.flags)
	c.file = file
	var lines []option
	if file != "" {
		text, err := readFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
		lines = parseFile(text, file, "=", coreKeys)
		c.top = lines
	}
	in := chains[0]
	for _, chain := range chains {
		if name, _ := c.value("chain"); name == chain.chain || c.is(chain.flag, false) {
			in = chain
		}
	}
	c.network = in.network
	read := map[string]bool{file: true}
	for _, o := range slices.Clone(lines) {
		path := joined(dir, "", o.value)
		if o.key != "includeconf" || o.section != "" && o.section != in.chain || read[path] || len(read) > 100 {
			continue
		}
		read[path] = true
		text, err := readFile(path)
		if err != nil {
			return c, err
		}
		lines = append(lines, parseFile(text, path, "=", coreKeys)...)
	}
	c.top = nil
	for _, o := range lines {
		switch o.section {
		case "":
			c.top = append(c.top, o)
		case in.chain:
			c.section = append(c.section, o)
		}
	}
	if d, ok := c.value("datadir"); ok {
		dir = joined(p.dir, "", d)
	}
	return c, c.readSettings(filepath.Join(dir, in.dir))
}

// readSettings reads settings.json, which bitcoin-qt writes.
func (c *coreConfig) readSettings(dir string) error {
	name, ok := c.value("settings")
	if name == "0" {
		return nil
	}
	if !ok {
		name = "settings.json"
	}
	path := joined(dir, "", name)
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all struct{ Proxy, Onion, Listen any }
	if json.Unmarshal([]byte(text), &all) != nil {
		return nil // Core does not start with it
	}
	for key, value := range map[string]any{"proxy": all.Proxy, "onion": all.Onion, "listen": all.Listen} {
		text, isText := value.(string)
		if on, isBool := value.(bool); isBool {
			text = map[bool]string{false: "0", true: "1"}[on]
		} else if !isText {
			continue
		}
		c.settings = append(c.settings, option{key: key, value: text, separator: "=", file: path}.withoutCredentials())
	}
	return nil
}

// foundWithin is the time within which a node that other nodes can reach has been found by one.
const foundWithin = time.Hour

const (
	otherProxyCore = "for each network the last proxy counts, in the order: flags, settings.json, the network's section, the other lines; up to version 29 the flag counts"
	strictCore     = "the proxy encrypts every connection, and its status page shows each session id"
	inboundBypass  = "keeps accepting inbound connections, which proxy= would turn off; they bypass the proxy"
)

// inbound returns how many nodes are connected to a Core that listens. It is unknown if its sockets
// cannot be seen, or if there are none but it has not run for long enough to have been found.
func (m *machine) inbound(p *process, network string) (n int, known bool) {
	own := slices.DeleteFunc(slices.Clone(m.sockets), func(s socket) bool { return !slices.Contains(p.inodes, s.inode) })
	listening := make(map[uint16]bool)
	for _, s := range own {
		listening[s.local.Port()] = listening[s.local.Port()] || s.listening
	}
	usual := 0
	if net, err := transport.ParseNetwork(network); err == nil {
		usual, _ = strconv.Atoi(net.Port)
	}
	for _, s := range own {
		port, ip := int(s.local.Port()), s.remote.Addr()
		isPeer := port == usual || port == usual+1 || // where Tor connects to its onion service
			!ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() // others may be clients of RPC
		if !s.listening && listening[s.local.Port()] && isPeer {
			n++
		}
	}
	return n, n > 0 || len(listening) > 0 && !p.started.IsZero() && time.Since(p.started) > foundWithin
}

// planCore plans Bitcoin Core, with the recipe of docs/clients.md.
func (m *machine) planCore(p *process, part *Part) {
	c, err := p.readCore()
	part.File, part.Network = c.file, c.network
	if err != nil {
		part.hint(err.Error())
		part.State = ToDo
		return
	}
	add := func(text, why string) {
		if c.file == "" {
			text = "-" + text
		}
		part.add(text, why)
	}
	uses, had := false, false
	for _, o := range c.all("proxy") {
		addr, network, _ := strings.Cut(o.value, "=")
		switch {
		case o.key == "proxy" && network == "" && m.isProxy(addr):
			uses = true
		case o.key == "proxy" && network != "" && network != "ipv4" && network != "ipv6":
		case o.key == "proxy" && !o.off() && !m.isProxy(addr):
			had = true
			m.removeOther(part, o, addr, otherProxyCore)
		default:
			part.remove(o, otherProxyCore)
		}
	}
	if !uses {
		add("proxy="+m.address(), "all outbound connections to public addresses use the proxy; implies listen=0 and discover=0")
	}

	onion, set := c.value("onion")
	ours := set && (m.isProxy(onion) || m.isPage(onion))
	for _, o := range c.all("onion") {
		if m.isPage(o.value) {
			m.removeOther(part, o, o.value, "")
		} else if ours && m.upstream == "" && m.isProxy(o.value) {
			part.remove(o, "without an --upstream such as Tor the proxy reaches no .onion peer")
		}
	}
	if m.upstream == "" && (!set || ours) {
		add("noonion=1", "without an --upstream such as Tor the proxy reaches no .onion peer; Core does not try them")
	}

	_, listenSet := c.value("listen")
	_, v2Set := c.value("v2transport")
	listens := c.is("listen", len(c.all("bind"))+len(c.all("whitebind")) > 0 || !uses && !had && len(c.all("connect")) == 0)
	if !listens {
		if !v2Set {
			add("v2transport=0", "leaves encryption to the proxy, which does not fall back to plaintext as Core does")
		}
		return
	}
	binds := len(c.all("bind"))+len(c.all("whitebind")) > 0
	announces := len(c.all("externalip")) > 0
	var keep []Line // inbound connections
	if !listenSet && !binds {
		keep = append(keep, Line{Text: "listen=1", Why: inboundBypass})
	}
	if _, set := c.value("discover"); m.upstream == "" && !uses && !set && !announces {
		keep = append(keep, Line{Text: "discover=1", Why: "the node keeps announcing its address to peers; proxy= would turn that off"})
	}
	byDefault := !listenSet && !binds && !announces
	comment := ""
	switch n, known := m.inbound(p, part.Network); {
	case !byDefault:
	case n > 0:
		keep[0].Why = fmt.Sprintf("%s (connected now: %d)", inboundBypass, n)
	case c.file == "":
		part.hint("if no peer connects to this node from outside, write -v2transport=0 instead of -listen=1 and -discover=1")
	case known && !v2Set:
		add("v2transport=0", "EITHER, if no peer connects to this node from outside, and none is connected now: "+strictCore)
		keep[0].Why = "OR, if peers do, these instead of the line after EITHER: " + inboundBypass
		comment = "#"
	default:
		keep[0].Why = "EITHER, if peers connect to this node from outside: " + inboundBypass
		keep = append(keep, Line{Text: "#v2transport=0", Why: "OR, if none does, this instead of the lines after EITHER: " + strictCore})
	}
	for _, l := range keep {
		add(comment+l.Text, l.Why)
	}
	for _, o := range c.all("v2transport") {
		if o.key == "v2transport" && o.off() || o.key == "nov2transport" && !o.off() {
			part.remove(o, "inbound connections bypass the proxy, and this makes all of them plaintext")
		}
	}
}
