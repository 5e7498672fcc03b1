package setup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bip324proxy/transport"
)

// coreBooleans are the booleans of Bitcoin Core's configuration that are read.
var coreBooleans = []string{"listen", "discover", "natpmp", "v2transport", "listenonion", "regtest", "testnet", "testnet4", "signet"}

// coreKeys are the keys of Bitcoin Core's configuration that are read; each may have "no" in front.
var coreKeys = func() (keys []string) {
	for _, k := range append([]string{"proxy", "onion", "onlynet", "i2psam", "privatebroadcast", "torcontrol", "externalip", "bind", "whitebind",
		"connect", "datadir", "conf", "settings", "includeconf", "chain"}, coreBooleans...) {
		keys = append(keys, k, "no"+k)
	}
	return keys
}()

// coreConfig is Bitcoin Core's configuration.
type coreConfig struct {
	all     []option // of flags, settings.json and the lines for its network, as affirmations: noonion=1 is onion=0
	file    string   // bitcoin.conf; empty with -noconf
	network string
}

func (c *coreConfig) has(keys ...string) bool { return has(c.all, keys...) }

func has(all []option, keys ...string) bool {
	return slices.ContainsFunc(all, func(o option) bool { return slices.Contains(keys, o.key) })
}

// coreBool returns the value of a boolean of Core if it is 0 or 1. Core reads "true" as 0.
func coreBool(value string) (string, bool) { return value, value == "0" || value == "1" }

// anyText returns any value.
func anyText(value string) (string, bool) { return value, true }

// coreDirs returns Core's data directory and configuration file, which is empty if it reads none.
func (p *process) coreDirs(flags []option) (dir, file string) {
	if p.pid == 0 {
		return filepath.Dir(p.conf), p.conf
	}
	dir = p.dataDir(p.home)
	if d, ok := last(flags, "datadir"); ok {
		dir = joined(p.dir, "", d)
	}
	name, ok := last(flags, "conf", "noconf")
	switch {
	case !ok:
		name = "bitcoin.conf"
	case !has(flags, "conf") || name == os.DevNull:
		return dir, ""
	}
	return dir, joined(dir, "", name)
}

// chain is a network by its names in Core: in -chain, its own flag, and settings.json's directory.
type chain struct{ name, flag, dir, network string }

var chains = []chain{
	{"main", "", "", "mainnet"},
	{"test", "testnet", "testnet3", "testnet3"},
	{"testnet4", "testnet4", "testnet4", "testnet4"},
	{"signet", "signet", "signet", "signet"},
	{"regtest", "regtest", "regtest", "regtest"},
}

// readCore reads Core's configuration. What is unclear in it is recorded in part.
func (p *process) readCore(part *Part) (*coreConfig, error) {
	flags := parseFlags(p.args, coreKeys)
	dir, file := p.coreDirs(flags)
	c := &coreConfig{file: file}
	lines, err := coreGrammar.read(file, coreKeys)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	top := func(section string) []option {
		return slices.DeleteFunc(slices.Clone(lines), func(o option) bool { return o.section != section })
	}
	in := chains[0]
	selects := new(Part).affirm(slices.Concat(flags, top("")))
	for _, c := range chains {
		if on, _ := part.one(selects, c.flag, coreBool); on == "1" {
			in = c
		}
	}
	if name, set := part.one(selects, "chain", anyText); set {
		if i := slices.IndexFunc(chains, func(c chain) bool { return c.name == name }); i >= 0 {
			in = chains[i]
		} else {
			part.unknown = append(part.unknown, "its chain, which is none of main, test, testnet4, signet and regtest")
		}
	}
	c.network = in.network
	included := 0
	for _, o := range append(top(in.name), top("")...) {
		if o.key != "includeconf" {
			continue
		}
		if included++; included > maxInclude {
			return c, fmt.Errorf("%s includes more than %d files, too many to plan for", file, maxInclude)
		}
		more, err := coreGrammar.read(joined(dir, "", o.value), coreKeys)
		if err != nil {
			return c, err
		}
		lines = append(lines, more...)
	}
	if d, ok := part.one(append(top(in.name), top("")...), "datadir", anyText); ok && !has(flags, "datadir") {
		dir = joined(p.dir, "", d)
	}
	settings, err := readSettings(filepath.Join(dir, in.dir), slices.Concat(flags, lines))
	c.all = slices.Concat(flags, settings, top(in.name))
	for _, o := range top("") {
		if in.name == "main" || !slices.Contains([]string{"bind", "connect"}, o.key) { // those count for mainnet only
			c.all = append(c.all, o)
		}
	}
	c.all = part.affirm(c.all)
	return c, err
}

// affirm returns the options without negations: noonion=1 is onion=0. Negations of what is no boolean
// are unclear, and so is what is not written as Core has it.
func (p *Part) affirm(all []option) (affirmed []option) {
	for _, o := range all {
		key, negated := strings.CutPrefix(o.key, "no")
		switch {
		case o.name != o.key:
			p.unclear(o, "Core reads only "+o.key+"; write that, or remove it, and run this again")
			continue
		case !negated:
		case o.value == "0" || o.value == "1":
			o.key, o.value = key, inverse(o.value)
			if !slices.Contains(append([]string{"onion", "proxy", "connect", "conf", "settings"}, coreBooleans...), key) {
				p.unclear(o, "a negation that setup does not know")
			}
		default:
			p.unclear(o, "must be 0 or 1; anything else is easily misread")
			continue
		}
		affirmed = append(affirmed, o)
	}
	return affirmed
}

// readSettings returns the options of settings.json, which bitcoin-qt writes.
func readSettings(dir string, all []option) (settings []option, err error) {
	name, ok := last(all, "settings")
	if !ok {
		name = "settings.json"
	}
	if has(all, "nosettings") {
		return nil, nil
	}
	path := joined(dir, "", name)
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if json.Unmarshal([]byte(text), &values) != nil {
		return nil, fmt.Errorf("%s is not valid JSON", path)
	}
	for _, key := range coreKeys {
		value, ok := values[key]
		if !ok {
			continue
		}
		text := "an unusual value"
		switch value := value.(type) {
		case string:
			text = value
		case bool:
			text = map[bool]string{false: "0", true: "1"}[value]
		}
		settings = append(settings, option{key: key, name: key, value: text, separator: "=", file: path})
	}
	return settings, nil
}

// foundWithin is the time within which a node that other nodes can reach has been found by one.
const foundWithin = time.Hour

const (
	strictCore    = "the proxy encrypts every connection, and its status page shows each session id"
	ownAddress    = "through a proxy that connects to clearnet directly, Core's private broadcast would show your IP address"
	inboundBypass = "keeps accepting inbound connections, which proxy= would turn off; they bypass the proxy"
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

// uncertainCore has why there is no plan for a Core with that key.
var uncertainCore = map[string]string{
	"onlynet":          "Core connects only to some networks, and may not start with the lines; " + besideProxy,
	"i2psam":           "connections to I2P peers bypass the proxy; " + besideProxy,
	"privatebroadcast": "Core sends its transactions through Tor or I2P only; " + besideProxy,
}

// planCore plans Bitcoin Core, with the recipe of docs/clients.md.
func (m *machine) planCore(p *process, part *Part) {
	c, err := p.readCore(part)
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
	for _, o := range c.all {
		if why := uncertainCore[o.key]; why != "" {
			part.unclear(o, why)
		}
		switch {
		case o.key != "onion" || o.value == "0":
		case m.proxy.Onion == "":
			m.unclearOnion(part, o)
		case o.value != m.onionProxy():
			part.unclear(o, "must be Tor itself ("+cmp.Or(m.onionProxy(), "the upstream for .onion")+"): "+ownAddress)
		}
	}
	_, onionSet := part.one(c.all, "onion", anyText)
	uses := m.uses(part, c.all, "proxy")
	if !uses {
		add("proxy="+m.address(), "all outbound connections to public addresses use the proxy; implies listen=0 and discover=0")
	}
	listen, listenSet := part.one(c.all, "listen", coreBool)
	listenOnion, _ := part.one(c.all, "listenonion", coreBool)
	v2, v2Set := part.one(c.all, "v2transport", coreBool)
	chosen := listen == "1" || !listenSet && c.has("bind", "whitebind")
	listens := chosen || !listenSet && !c.has("proxy", "connect")
	if listenOnion == "1" && !chosen {
		o := c.all[slices.IndexFunc(c.all, func(o option) bool { return o.key == "listenonion" })]
		part.unclear(o, "Core does not start with it if it does not listen, which proxy= turns off: write listen=1 beside it, and run this again; "+besideProxy)
	}
	if listens && !chosen && m.proxy.Upstream != "" {
		listens = false
		part.hint("proxy= turns listening off, because inbound connections would show the address that the proxy's upstream hides; to accept those through Tor, " + besideProxy)
	}
	switch {
	case onionSet:
	case m.proxy.Upstream != "" && listens:
		add("onion="+m.address(), "connections to onion peers use the proxy, too; Core would make them through Tor itself if it found Tor's control port")
	case m.proxy.Onion != "" && m.onionProxy() == "":
		part.unknown = append(part.unknown, "the proxy's upstream for .onion, whose address is not of plain characters")
	case m.proxy.Onion != "":
		add("onion="+m.onionProxy(), "connections to onion peers use Tor itself: "+ownAddress)
	case m.proxy.Upstream == "" && listens && listenOnion != "0" && (c.has("torcontrol") || isOpen(m.sockets, "9051")):
		part.unknown = append(part.unknown, "Tor's control port, through which this Core may connect to onion peers: noonion=1 would end that. Write it if you want that, and run this again; else "+besideProxy)
	case m.proxy.Upstream == "":
		add("noonion=1", "without an --upstream such as Tor the proxy reaches no .onion peer; Core does not try them")
	}
	if !listens || m.acceptsPeersFor(c) {
		if !v2Set && m.proxy.Onion == "" { // connections through Tor itself have only Core's own v2
			add("v2transport=0", "leaves encryption to the proxy, which does not fall back to plaintext as Core does")
		}
		return
	}
	m.keepListening(p, part, c, chosen, uses, add)
	if v2 == "0" {
		for _, o := range c.all {
			if o.key == "v2transport" {
				part.remove(o, "inbound connections bypass the proxy, and this makes all of them plaintext")
			}
		}
	}
}

// acceptsPeersFor reports whether the proxy accepts peers for a Core that listens where c says.
func (m *machine) acceptsPeersFor(c *coreConfig) bool {
	return slices.ContainsFunc(c.all, func(o option) bool {
		address, _, _ := strings.Cut(o.value, "=") // bind=ADDRESS=onion
		return o.key == "bind" && slices.Contains(m.proxy.Nodes, address)
	})
}

// keepListening adds what proxy= would turn off in a Core that listens. If Core does so only by
// default, not by choice, it adds the strict recipe beside it, one of the two in comments.
func (m *machine) keepListening(p *process, part *Part, c *coreConfig, chosen, uses bool, add func(text, why string)) {
	announces, v2Set := c.has("externalip"), c.has("v2transport")
	v2, _ := new(Part).one(c.all, "v2transport", coreBool)
	var keep []Line
	if !chosen {
		keep = append(keep, Line{Text: "listen=1", Why: inboundBypass})
	}
	if m.proxy.Upstream == "" && !uses {
		if !c.has("discover") && !announces {
			keep = append(keep, Line{Text: "discover=1", Why: "the node keeps announcing its address to peers; proxy= would turn that off"})
		}
		if !c.has("natpmp") {
			keep = append(keep, Line{Text: "natpmp=1", Why: "the router keeps forwarding the port, as by default since Core 30 (leave this out for an older one); proxy= would turn that off"})
		}
	}
	comment := ""
	switch n, known := m.inbound(p, part.Network); {
	case chosen || announces || v2 == "1":
	case n > 0:
		keep[0].Why = fmt.Sprintf("%s (connected now: %d)", inboundBypass, n)
	case c.file == "":
		part.hint("if no peer connects to this node from outside, write -v2transport=0 instead of -listen=1, -discover=1 and -natpmp=1")
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
}
