package setup

import (
	"slices"
	"strings"
)

// torPart returns the part about the Tor that runs on this machine, if there is one.
func (m *machine) torPart(all []*process) []Part {
	address := ""
	for _, port := range []string{"9050", "9150"} { // of the daemon, of Tor Browser
		if address == "" && isOpen(m.sockets, port) {
			address = "127.0.0.1:" + port
		}
	}
	if i := slices.IndexFunc(all, func(p *process) bool { return p.name == "Tor" && p.apart == "" }); i >= 0 {
		if a := torSocks(all[i]); a != "" {
			address = a
		}
	}
	if address == "" {
		return nil
	}
	p := Part{Name: "Tor", State: Note, What: "its SOCKS port is " + address + "; the proxy does not use it"}
	switch {
	case isAtURL(m.proxy.Upstream, address):
		p.State, p.What = OK, address+" is the proxy's upstream: all connections and lookups go through Tor"
	case isAtURL(m.proxy.Onion, address):
		p.State, p.What = OK, address+" is the proxy's upstream for .onion peers"
	case m.proxy.Upstream == "" && m.proxy.Onion == "":
		p.hint("optional: with --upstream socks5://" + address + " all connections and lookups of the proxy go through Tor; .onion peers then work, so leave out noonion")
	}
	return []Part{p}
}

// isAtURL reports whether url, of an upstream proxy, has that address.
func isAtURL(url, address string) bool {
	return strings.Replace(url, "localhost:", "127.0.0.1:", 1) == "socks5://"+address
}

// onionProxy returns the address of the proxy's upstream for .onion as Core writes it, or empty if it
// is not of plain characters.
func (m *machine) onionProxy() string {
	if path, ok := strings.CutPrefix(m.proxy.Onion, "socks5+unix://"); ok && isPath(path) {
		return "unix:" + path
	}
	if address, ok := strings.CutPrefix(m.proxy.Onion, "socks5://"); ok && isAddress(address) {
		return address
	}
	return ""
}

// torSocks returns the first TCP address at which Tor's configuration offers SOCKS, or empty.
func torSocks(p *process) string {
	flags := parseFlags(p.args, []string{"f", "SocksPort", "SOCKSPort"}, "f", "SocksPort", "SOCKSPort")
	file, ok := last(flags, "f")
	if !ok {
		file = "/etc/tor/torrc"
	}
	text, _ := readFile(joined(p.dir, p.home, file)) // its default port is tried otherwise
	lines, _ := torGrammar.parse(strings.ReplaceAll(text, "\t", " "), file, []string{"SocksPort", "SocksListenAddress"})
	for _, o := range append(flags, lines...) {
		value, _, _ := strings.Cut(o.value, " ")
		if o.key == "f" || value == "0" || value == "auto" || strings.HasPrefix(value, "unix:") {
			continue
		}
		if !strings.Contains(value, ":") {
			value = "127.0.0.1:" + value
		}
		if isAddress(value) {
			return value
		}
	}
	return ""
}
