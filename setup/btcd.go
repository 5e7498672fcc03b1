package setup

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// confFlags are the flags of the programs other than Core that say where their file is.
var confFlags = []string{"configfile", "C", "config", "lnddir", "prefix", "network", "n"}

// confFile returns the path of the program's configuration file, empty if it has none.
func (p *process) confFile() string {
	switch {
	case p.pid == 0:
		return p.conf
	case p.name == "Bitcoin Core":
		_, file := p.coreDirs(parseFlags(p.args, coreKeys))
		return file
	case p.kind.conf == "":
		return ""
	}
	flags := parseFlags(p.args, confFlags, confFlags...)
	if file, ok := last(flags, "configfile", "C", "config"); ok {
		return joined(p.dir, p.home, file)
	}
	dir := p.dataDir(p.home)
	if d, ok := last(flags, "lnddir", "prefix"); ok {
		dir = joined(p.dir, p.home, d)
	}
	if network, ok := last(flags, "network", "n"); ok && network != "main" && p.name == "bcoin" {
		dir = filepath.Join(dir, network)
	}
	return filepath.Join(dir, p.kind.conf)
}

// read returns the program's flags and lines that have one of these keys. It records the file in
// part; ok is false, with a hint in part, if the file cannot be read. What the program may read
// otherwise than it is written is unclear.
func (p *process) read(part *Part, g grammar, keys ...string) (flags, lines []option, ok bool) {
	part.AtEnd = true
	path := p.confFile()
	if path != os.DevNull {
		part.File = path
	}
	lines, err := g.read(path, keys)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		part.hint(err.Error())
		part.State = ToDo
		return nil, nil, false
	}
	for _, o := range lines {
		group, _, _ := strings.Cut(o.key, ".")
		section := strings.ToLower(o.section)
		switch {
		case o.name != o.key:
			part.unclear(o, "write "+o.key+" in its place, and run this again")
		case section != "" && section != "application options" && section != group:
			part.unclear(o, p.name+" does not read it in this section")
		}
	}
	spaced := []string{"proxy", "onion", "listen", "tor.socks", "bitcoin.node"}
	return parseFlags(p.args, keys, spaced...), lines, true
}

// networkFlags are the flags of btcd and its relatives for networks, and the networks.
var networkFlags = map[string]string{"testnet": "testnet3", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest", "simnet": "simnet",
	"bitcoin.testnet": "testnet3", "bitcoin.testnet4": "testnet4", "bitcoin.signet": "signet", "bitcoin.regtest": "regtest", "bitcoin.simnet": "simnet"}

// btcdNetwork returns the network that the options select.
func btcdNetwork(all []option) string {
	for _, o := range all {
		if on, _ := strconv.ParseBool(o.value); networkFlags[o.key] != "" && (on || o.value == "") {
			return networkFlags[o.key]
		}
	}
	return "mainnet"
}

func withNetworks(keys ...string) []string {
	return slices.AppendSeq(keys, maps.Keys(networkFlags))
}

// ignoresFile reports whether btcd does not read its file: on its networks for tests it reads none at
// the usual place.
func (p *process) ignoresFile(flags []option) bool {
	return p.pid > 0 && p.name == "btcd" && slices.Contains([]string{"regtest", "simnet", "signet"}, btcdNetwork(flags)) &&
		p.confFile() == filepath.Join(p.dataDir(p.home), p.kind.conf)
}

// goBool returns the value of a boolean of go-flags as "0" or "1".
func goBool(value string) (string, bool) {
	on, err := strconv.ParseBool(cmp.Or(value, "true"))
	return map[bool]string{false: "0", true: "1"}[on], err == nil
}

// planBtcd plans btcd and utreexod.
func (m *machine) planBtcd(p *process, part *Part) {
	flags, lines, ok := p.read(part, goGrammar, withNetworks("proxy", "onion", "OnionProxy", "noonion", "listen", "nolisten", "connect")...)
	if !ok {
		return
	}
	if p.ignoresFile(flags) {
		part.hint("on this network it does not read " + part.File + " unless --configfile names another file")
		part.File, part.unknown, lines = "", nil, nil
	}
	add := part.add
	if part.File == "" {
		add = func(text, why string) { part.add("--"+strings.TrimSuffix(text, "=1"), why) } // go-flags' booleans take no value
	}
	all := slices.Concat(lines, flags) // flags override lines
	part.Network = btcdNetwork(all)
	uses := m.uses(part, all, "proxy")
	noonion, _ := part.one(all, "noonion", goBool)
	for _, o := range all {
		switch {
		case m.proxy.Upstream != "" && o.key == "noonion" && noonion == "1":
			part.remove(o, "with it "+p.name+" asks the system's resolver for names, not the proxy and its upstream")
		case o.key == "onion" || o.key == "OnionProxy":
			m.unclearOnion(part, o)
		}
	}
	addNoOnion := m.proxy.Upstream == "" && m.proxy.Onion == "" && noonion != "1"
	if part.File != "" && (!uses || addNoOnion) {
		part.add("[Application Options]", "")
	}
	if !uses {
		_, listens := last(all, "listen")
		_, not := last(all, "nolisten", "connect")
		add("proxy="+m.address(), "all outbound connections use the proxy; without listen= it turns listening off")
		if !listens && !not {
			part.hint("to keep accepting inbound connections, which bypass the proxy, add listen= with an address")
		}
	}
	if addNoOnion {
		add("noonion=1", "without an --upstream such as Tor the proxy reaches no .onion peer; with noonion, the system's resolver gets the names")
	}
}

// planLnd plans lnd: it has Bitcoin peers only with its built-in neutrino.
func (m *machine) planLnd(p *process, part *Part) {
	const skip, torByDefault = "tor.skip-proxy-for-clearnet-targets", "127.0.0.1:9050"
	flags, lines, ok := p.read(part, goGrammar, withNetworks("bitcoin.node", "tor.active", "tor.socks", skip)...)
	if !ok {
		return
	}
	all := slices.Concat(lines, flags)
	part.Network = btcdNetwork(all)
	node, set := last(all, "bitcoin.node")
	if !set {
		node = "btcd"
	}
	if len(part.unknown) == 0 && slices.Contains([]string{"btcd", "bitcoind", "nochainbackend"}, node) {
		part.State, part.What = Note, "needs nothing: its Bitcoin peers are those of "+node+"; set the proxy there"
		return
	}
	if node != "neutrino" {
		part.unknown = append(part.unknown, "bitcoin.node, which is none of neutrino, btcd, bitcoind and nochainbackend")
	}
	uses := m.uses(part, all, "tor.socks")
	active, _ := part.one(all, "tor.active", goBool)
	_, set = last(all, "tor.socks")
	if active == "1" && !set && !m.isUpstream(torByDefault) {
		part.unknown = append(part.unknown, "tor.active without tor.socks, which is Tor at "+torByDefault+": "+otherProxy)
	}
	if skips, _ := part.one(all, skip, goBool); skips == "1" {
		o := all[slices.IndexFunc(all, func(o option) bool { return o.key == skip })]
		part.unclear(o, "lnd bypasses any proxy except for .onion, and its Bitcoin connections are plaintext; remove it, and run this again; see “lnd” in docs/clients.md")
	}
	if active == "0" {
		o := all[slices.IndexFunc(all, func(o option) bool { return o.key == "tor.active" })]
		part.unclear(o, "lnd uses no proxy; remove it, and run this again")
	}
	if uses && active == "1" {
		return
	}
	add := part.add
	if part.File == "" {
		add = func(text, why string) { part.add("--"+strings.TrimSuffix(text, "=true"), why) }
	} else {
		part.add("[tor]", "")
	}
	if active == "" {
		add("tor.active=true", "everything that lnd does over Tor goes through the proxy; it then listens on localhost only, unless listen= is set")
	}
	if !uses {
		add("tor.socks="+m.address(), "the proxy takes the place of Tor; only its --upstream makes that anonymous")
	}
}

// planBcoin plans bcoin.
func (m *machine) planBcoin(p *process, part *Part) {
	flags, lines, ok := p.read(part, bcoinGrammar, "proxy", "onion", "network", "n")
	if !ok {
		return
	}
	all := slices.Concat(lines, flags)
	part.Network = "mainnet"
	if !m.uses(part, all, "proxy") {
		if part.File == "" {
			part.add("--proxy="+m.address(), "")
		} else {
			part.add("proxy: "+m.address(), "all outbound connections use the proxy")
		}
	}
	for _, o := range all {
		if o.key == "onion" && o.value != "false" && o.value != "0" {
			part.unclear(o, "with it bcoin crashes when it resolves names; remove it, and run this again")
		}
	}
}

// planElectrum reports that Electrum needs nothing.
func (m *machine) planElectrum(_ *process, part *Part) {
	part.State, part.What = Note, "needs nothing: it speaks its own protocol over TLS to servers, not to Bitcoin peers"
}
