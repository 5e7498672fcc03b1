package setup

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
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
// part; ok is false, with a hint in part, if the file cannot be read.
func (p *process) read(part *Part, separator string, keys ...string) (flags, lines []option, ok bool) {
	part.File, part.AtEnd = p.confFile(), true
	text, err := readFile(part.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		part.hint(err.Error())
		part.State = ToDo
		return nil, nil, false
	}
	strings := []string{"proxy", "onion", "listen", "tor.socks", "bitcoin.node"}
	return parseFlags(p.args, keys, strings...), parseFile(text, part.File, separator, keys), true
}

// networkFlags are the flags of btcd and its relatives for networks, and the networks.
var networkFlags = map[string]string{"testnet": "testnet3", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest", "simnet": "simnet",
	"bitcoin.testnet": "testnet3", "bitcoin.testnet4": "testnet4", "bitcoin.signet": "signet", "bitcoin.regtest": "regtest", "bitcoin.simnet": "simnet"}

// btcdNetwork returns the network that the options select.
func btcdNetwork(all []option) string {
	for _, o := range all {
		if n := networkFlags[o.key]; n != "" && !o.off() {
			return n
		}
	}
	return "mainnet"
}

func withNetworks(keys ...string) []string {
	for k := range networkFlags {
		keys = append(keys, k)
	}
	return keys
}

// otherProxies removes every value of key other than the proxy's address, and reports whether that one is there.
func (m *machine) otherProxies(part *Part, all []option, key, why string) (uses bool) {
	for _, o := range all {
		switch {
		case o.key != key:
		case m.isProxy(o.value):
			uses = true
		default:
			m.removeOther(part, o, o.value, why)
		}
	}
	return uses
}

// ignoresFile reports whether btcd does not read its file: on its networks for tests it reads none at
// the usual place.
func (p *process) ignoresFile(flags []option) bool {
	return p.pid > 0 && p.name == "btcd" && slices.Contains([]string{"regtest", "simnet", "signet"}, btcdNetwork(flags)) &&
		p.confFile() == filepath.Join(p.dataDir(p.home), p.kind.conf)
}

// planBtcd plans btcd and utreexod.
func (m *machine) planBtcd(p *process, part *Part) {
	flags, lines, ok := p.read(part, "=", withNetworks("proxy", "onion", "noonion", "listen", "nolisten", "connect")...)
	if !ok {
		return
	}
	add, section := part.add, "[Application Options]"
	if p.ignoresFile(flags) {
		part.hint("on this network it does not read " + part.File + " unless --configfile names another file")
		part.File, lines, section = "", nil, ""
		add = func(text, why string) { part.add("--"+strings.TrimSuffix(text, "=1"), why) } // go-flags' booleans take no value
	}
	all := slices.Concat(lines, flags) // flags override lines
	part.Network = btcdNetwork(all)
	uses := m.otherProxies(part, all, "proxy", "only one proxy counts; a flag overrides the file")
	onion, _ := last(all, "onion")
	addNoOnion := m.upstream == "" && !isOn(all, "noonion") && (onion == "" || m.isProxy(onion))
	if section != "" && (!uses || addNoOnion) {
		part.add(section, "")
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
		for _, o := range all {
			if o.key == "onion" {
				part.remove(o, "without an --upstream such as Tor the proxy reaches no .onion peer")
			}
		}
	}
}

// planLnd plans lnd: it has Bitcoin peers only with its built-in neutrino.
func (m *machine) planLnd(p *process, part *Part) {
	const skip = "tor.skip-proxy-for-clearnet-targets"
	flags, lines, ok := p.read(part, "=", withNetworks("bitcoin.node", "tor.active", "tor.socks", skip)...)
	if !ok {
		return
	}
	all := slices.Concat(lines, flags)
	part.Network = btcdNetwork(all)
	if node, _ := last(all, "bitcoin.node"); node != "neutrino" {
		if node == "" {
			node = "btcd"
		}
		part.State, part.What = Note, "needs nothing: its Bitcoin peers are those of "+node+"; set the proxy there"
		return
	}
	uses := m.otherProxies(part, all, "tor.socks", "only one SOCKS proxy counts; a flag overrides the file")
	off := !isOn(all, "tor.active")
	for _, o := range all {
		if o.key == skip && !o.off() {
			part.remove(o, "it makes lnd bypass any proxy except for .onion: its Bitcoin connections are plaintext")
		}
		if o.key == "tor.active" && o.off() && o.file != "" {
			part.remove(o, "with it lnd uses no proxy")
		}
	}
	if !off && !uses && len(part.Remove) == 0 {
		m.replaces(part, "127.0.0.1:9050", nil) // the default
	}
	if uses && !off {
		return
	}
	part.add("[tor]", "")
	if off {
		part.add("tor.active=true", "everything that lnd does over Tor goes through the proxy; it then listens on localhost only, unless listen= is set")
	}
	if !uses {
		part.add("tor.socks="+m.address(), "the proxy takes the place of Tor; only its --upstream makes that anonymous")
	}
}

// planBcoin plans bcoin.
func (m *machine) planBcoin(p *process, part *Part) {
	flags, lines, ok := p.read(part, ":", "proxy", "onion", "network", "n")
	if !ok {
		return
	}
	all := slices.Concat(lines, flags)
	part.Network = "mainnet"
	if !m.otherProxies(part, all, "proxy", "only one proxy counts; a flag overrides the file") {
		part.add("proxy: "+m.address(), "all outbound connections use the proxy")
	}
	for _, o := range all {
		if o.key == "onion" && !o.off() {
			part.remove(o, "with it bcoin crashes when it resolves names")
		}
	}
}

// planElectrum reports that Electrum needs nothing.
func (m *machine) planElectrum(_ *process, part *Part) {
	part.State, part.What = Note, "needs nothing: it speaks its own protocol over TLS to servers, not to Bitcoin peers"
}
