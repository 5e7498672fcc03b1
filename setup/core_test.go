package setup

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/status"
)

func TestPlanCore(t *testing.T) {
	const use = "proxy=" + address
	const strict = use + " noonion=1 v2transport=0"
	const configured = use + "\nnoonion=1\nv2transport=0\n"
	const tor = "socks5://127.0.0.1:9050"
	for _, c := range []struct {
		name, conf, flags, upstream string
		onion                       string // upstream of .onion only
		files                       map[string]string
		add, remove                 string
		unclear                     string // what its settings are said to be, or where
	}{
		{name: "by default it listens", add: use + " noonion=1 listen=1 discover=1 natpmp=1 #v2transport=0"},
		{name: "by default it listens, through Tor", upstream: tor, add: use + " v2transport=0"},
		{name: "listens, through Tor", conf: "listen=1", upstream: tor, add: use + " onion=" + address},
		{name: "listens, configured but for onion peers", conf: use + "\nlisten=1", upstream: tor, add: "onion=" + address},
		{name: "the status page", conf: "proxy=" + page + "\nnoonion=1\nv2transport=0", remove: "proxy=" + page, add: use},
		{name: "the status page, by name, and for onion peers", conf: use + "\nonion=localhost:1325\nv2transport=0", unclear: "points at the status page"},
		{name: "does not listen", conf: "listen=0", add: strict},
		{name: "does not listen, by a flag", flags: "-nolisten", add: strict},
		{name: "a negation", conf: "nolisten=1", add: strict},
		{name: "a double negation", conf: "nolisten=0", add: use + " noonion=1 discover=1 natpmp=1"},
		{name: "two values", conf: "listen=0\nlisten=1", unclear: "line 2 of DIR/bitcoin.conf: listen=1: it is also set to another value"},
		{name: "two values of a flag", flags: "-listen=1 -listen=0", unclear: "flag -listen=0: it is also set"},
		{name: "announces an address", conf: "externalip=192.0.2.1", add: use + " noonion=1 listen=1 natpmp=1"},
		{name: "configured", conf: use + "\nonion=0\nv2transport=0"},
		{name: "configured by name", conf: "proxy=localhost:1324\nnoonion=1\nv2transport=0"},
		{name: "configured by flags", flags: "-" + use + " -noonion -v2transport=0"},
		{name: "its own v2", conf: use + "\nnoonion=1\nv2transport=1"},
		{name: "listens, configured", conf: use + "\nnoonion=1\nlisten=1\ndiscover=1"},
		{name: "inbound in plaintext", conf: use + "\nnoonion=1\nlisten=1\nv2transport=0", remove: "v2transport=0"},
		{name: "inbound through the proxy", conf: configured + "bind=127.0.0.1:8334\nexternalip=192.0.2.1:8333"},
		{name: "inbound through the proxy, not configured", conf: "bind=127.0.0.1:8334=onion\nexternalip=192.0.2.1:8333", add: strict},
		{name: "inbound past the proxy", conf: configured + "bind=127.0.0.1:8335\nexternalip=192.0.2.1:8333", remove: "v2transport=0"},
		{name: "inbound in plaintext, by negation", conf: use + "\nnoonion=1\nlisten=1\nnov2transport=1", remove: "nov2transport=1"},
		{name: "by default it listens, inbound in plaintext", conf: "v2transport=0", remove: "v2transport=0", add: use + " noonion=1 listen=1 discover=1 natpmp=1 #v2transport=0"},
		{name: "inbound in plaintext, in a word", conf: use + "\nnoonion=1\nlisten=1\nv2transport=no", unclear: "v2transport: must be 0 or 1"},
		{name: "listening, in a word", conf: "listen=true", unclear: "line 1 of DIR/bitcoin.conf: listen: must be 0 or 1"},
		{name: "no listening, in a word", conf: "listen=no", unclear: "must be 0 or 1"},
		{name: "a negation in a word", conf: "nolisten=true", unclear: "must be 0 or 1"},
		{name: "Tor for onion peers only", conf: use + "\nonion=127.0.0.1:9050\nv2transport=0", unclear: "onion=127.0.0.1:9050: connections to onion peers bypass this proxy"},
		{name: "Tor for onion peers only, by its network", conf: "proxy=127.0.0.1:9050=onion\nlisten=0", unclear: "line 1 of DIR/bitcoin.conf: proxy: neither bip324-proxy"},
		{name: "IPv4 by its network, in capitals", conf: configured + "proxy=127.0.0.1:9050=IPv4", unclear: "line 4 of"},
		{name: "onion through the proxy", conf: use + "\nonion=" + address + "\nv2transport=0", unclear: "without an --upstream such as Tor"},
		{name: "onion through the proxy and Tor", conf: use + "\nonion=" + address + "\nv2transport=0", upstream: tor},
		{name: "Tor for .onion in the proxy", onion: tor, conf: "listen=0", add: use + " onion=127.0.0.1:9050"},
		{name: "Tor for .onion in the proxy, listens", onion: tor, conf: "listen=1", add: use + " onion=127.0.0.1:9050 discover=1 natpmp=1"},
		{name: "Tor for .onion in the proxy, and a control port", onion: tor, conf: "torcontrol=127.0.0.1:9051\nlisten=0", add: use + " onion=127.0.0.1:9050"},
		{name: "Tor's socket for .onion in the proxy", onion: "socks5+unix:///run/tor/socks", conf: "listen=0", add: use + " onion=unix:/run/tor/socks"},
		{name: "Tor for .onion in the proxy, configured", onion: tor, conf: use + "\nonion=127.0.0.1:9050\nlisten=0"},
		{name: "onion through the proxy, which would show the own address", onion: tor, conf: use + "\nonion=" + address + "\nlisten=0", unclear: "must be Tor itself (127.0.0.1:9050): through a proxy that connects to clearnet directly"},
		{name: "Tor for all, though it is the upstream for .onion only", onion: tor, conf: "proxy=127.0.0.1:9050\nlisten=0", unclear: "proxy=127.0.0.1:9050: neither bip324-proxy nor its upstream"},
		{name: "a shell's words for .onion", onion: "socks5+unix:///run/$(touch%20x)", conf: "listen=0", unclear: "not of plain characters"},
		{name: "Tor", conf: "# mine\nproxy=127.0.0.1:9050 # tor", unclear: "line 2 of DIR/bitcoin.conf: proxy=127.0.0.1:9050: neither bip324-proxy nor its upstream"},
		{name: "Tor without a port", conf: "proxy=127.0.0.1", unclear: "proxy: neither"},
		{name: "Tor's socket", conf: "proxy=unix:/run/tor/socks", unclear: "proxy: neither"},
		{name: "another upstream than Tor", conf: "proxy=127.0.0.1:9050\nlisten=0", upstream: "socks5://10.0.0.9:1080", unclear: "neither bip324-proxy nor its upstream"},
		{name: "the upstream already", conf: "proxy=127.0.0.1:9050\nlisten=1", upstream: tor, remove: "proxy=127.0.0.1:9050", add: use + " onion=" + address},
		{name: "a flag", conf: configured, flags: "-proxy=127.0.0.1:9050", unclear: "flag -proxy=127.0.0.1:9050: "},
		{name: "off", conf: "proxy=0\n" + configured, unclear: "turns a proxy off"},
		{name: "off, without a value", conf: "proxy=\nlisten=0", unclear: "turns a proxy off"},
		{name: "off, by negation", conf: configured, flags: "-noproxy", unclear: "flag -noproxy=1: it turns a proxy off"},
		{name: "IPv4 only", conf: use + "=ipv4\nnoonion=1\nlisten=0", unclear: "line 1"},
		{name: "quotes, which Core keeps", conf: strings.ReplaceAll(configured, address, `"`+address+`"`), unclear: "line 1 of DIR/bitcoin.conf: proxy:"},
		{name: "quotes around a number", conf: "listen=\"0\"", unclear: "listen: must be 0 or 1"},
		{name: "a BOM, for which Core ignores the first line", conf: "\ufeff" + configured, unclear: "DIR/bitcoin.conf begins with a byte order mark"},
		{name: "only onion", conf: "onlynet=onion\nlisten=1", unclear: "may not start with the lines"},
		{name: "I2P", conf: configured + "i2psam=127.0.0.1:7656", unclear: "I2P peers bypass the proxy"},
		{name: "Tor's control port", conf: "torcontrol=127.0.0.1:9051", unclear: "Tor's control port"},
		{name: "an onion service, without listen=1", conf: "listenonion=1", unclear: "write listen=1 beside it"},
		{name: "an onion service, through Tor", conf: "listen=1\nlistenonion=1", upstream: tor, add: use + " onion=" + address},
		{name: "Tor's control port, not used", conf: "torcontrol=127.0.0.1:9051\nlisten=0", add: strict},
		{name: "a key in capitals, which Core ignores", conf: "Proxy=" + address + "\nlisten=0", unclear: "Core reads only proxy"},
		{name: "an unknown chain", conf: "chain=mars", unclear: "its chain"},
		{name: "a negation of an address", conf: configured + "nobind=1", unclear: "negation"},
		{name: "too many lines", conf: strings.Repeat(use+"\n", maxOptions+1), unclear: "too many to plan for"},
		{name: "too many files", conf: strings.Repeat("includeconf=bitcoin.conf\n", maxInclude+1), unclear: "too many to plan for"},
		{name: "a shell's words", conf: "proxy=$(touch${IFS}/tmp/x):1080", unclear: "line 1 of DIR/bitcoin.conf: proxy: "},
		{name: "another network's section", conf: configured + "[test]\nproxy=127.0.0.1:9050"},
		{name: "a listener of mainnet, on another network", conf: "chain=regtest\nbind=127.0.0.1:1\nconnect=0", add: use + " noonion=1 listen=1 discover=1 natpmp=1 #v2transport=0"},
		{name: "the network's section", conf: "chain=test\n" + configured + "[test]\nproxy=127.0.0.1:9050", unclear: "line 6"},
		{name: "the network's section, in one word", conf: configured + "regtest.proxy=127.0.0.1:9050", flags: "-regtest", unclear: "line 4"},
		{name: "settings.json", conf: configured, flags: "-testnet", files: map[string]string{"testnet3/settings.json": `{"proxy": "127.0.0.1:9050", "wallet": ["x"]}`}, unclear: "settings.json: proxy=127.0.0.1:9050"},
		{name: "settings.json, a list", conf: configured, files: map[string]string{"settings.json": `{"onion": ["127.0.0.1:9050"]}`}, unclear: "settings.json: onion: "},
		{name: "an included file", conf: "includeconf=more.conf\nnoonion=1\nv2transport=0", files: map[string]string{"more.conf": use + "\nincludeconf=more.conf\nproxy=10.0.0.1:9050"}, unclear: "line 3 of DIR/more.conf"},
		{name: "no file", conf: "proxy=127.0.0.1:9050", flags: "-noconf", add: "-" + use + " -noonion=1 -listen=1 -discover=1 -natpmp=1"},
		{name: "an empty file", flags: "-listen=0 -conf=" + os.DevNull, add: "-" + strings.ReplaceAll(strict, " ", " -")},
		{name: "credentials by mistake", conf: "proxy=user:hunter2@127.0.0.1:9050\nlisten=0", unclear: "bitcoin.conf: proxy: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				write(t, filepath.Join(dir, name), text)
			}
			path := filepath.Join(dir, "bitcoin.conf")
			write(t, path, c.conf+"\n")
			m := &machine{proxy: Proxy{Listen: []string{address}, Page: page, Upstream: c.upstream, Onion: c.onion, Status: new(status.Report), Nodes: []string{"127.0.0.1:8334"}}}
			part := m.plan(&process{kind: kinds[0], pid: 1, args: append(strings.Fields(c.flags), "-datadir="+dir)})
			hints := strings.Join(part.Hints, "\n")
			if texts(part.Add) != c.add || texts(part.Remove) != c.remove {
				t.Errorf("add %q, want %q; remove %q, want %q\n%+v", texts(part.Add), c.add, texts(part.Remove), c.remove, part)
			}
			if want := strings.ReplaceAll(c.unclear, "DIR/", dir+string(filepath.Separator)); !strings.Contains(hints, want) ||
				strings.Contains(part.What, ": configured") != (c.add+c.remove+c.unclear == "") || strings.Contains(hints, "hunter2") || strings.Contains(hints, "$(") {
				t.Errorf("%s: got %q, want %q", part.What, part.Hints, want)
			}
			for _, l := range part.Remove {
				if says := "points at the status page (" + page + "); must be " + address; (l.Why == says) != strings.HasSuffix(l.Text, ":1325") {
					t.Errorf("%s: says %q", l.Text, l.Why)
				}
				if text, err := os.ReadFile(l.File); l.Number > 0 && (err != nil || !strings.Contains(strings.Split(string(text), "\n")[l.Number-1], l.Text[strings.Index(l.Text, "=")+1:])) {
					t.Errorf("%q is not in line %d of %s", l.Text, l.Number, l.File)
				}
			}
		})
	}
}

// A Core that may use Tor's control port, or a proxy whose status page is silent: there is no plan.
func TestPlanCoreUncertain(t *testing.T) {
	control := []socket{{local: netip.MustParseAddrPort("127.0.0.1:9051"), listening: true}}
	for _, c := range []struct {
		name, conf string
		m          machine
		unclear    bool
	}{
		{"control port", "", machine{sockets: control}, runtime.GOOS == "linux"},
		{"control port, and not", "listenonion=0\n", machine{sockets: control}, false},
		{"control port, and no onion peers", "noonion=1\n", machine{sockets: control}, false},
		{"an onion service without listening", "listenonion=1\n", machine{}, true},
		{"an onion service without listening, as the recipe has it", "listenonion=1\nproxy=" + address + "\nnoonion=1\nv2transport=0\n", machine{}, true},
		{"an onion service", "listen=1\nlistenonion=1\n", machine{}, false},
		{"silent", "listen=0\n", machine{silent: true}, true},
		{"silent, as the recipe has it", "proxy=" + address + "\nnoonion=1\nv2transport=0\n", machine{silent: true}, true},
		{"an address that is none", "", machine{proxy: Proxy{Listen: []string{"a b:1"}}}, true},
	} {
		part := planOf(t, &c.m, "Bitcoin Core", c.conf)
		if unclear := strings.Contains(part.What, "prints no lines"); unclear != c.unclear || unclear && (len(part.Add) > 0 || part.State != ToDo) {
			t.Errorf("%s: got %+v", c.name, part)
		}
	}
}

// A Core that listens by default has both recipes in its lines, one of them in comments: which, depends on whether
// another node is connected. Each is complete.
func TestPlanCoreInbound(t *testing.T) {
	at := func(local, remote string, inode uint64) socket {
		return socket{netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote), remote == "0.0.0.0:0", inode}
	}
	idle := []socket{at("0.0.0.0:8333", "0.0.0.0:0", 1), at("127.0.0.1:8332", "0.0.0.0:0", 2), // of P2P and RPC
		at("127.0.0.1:8332", "127.0.0.1:4001", 3), at("192.168.0.2:4002", "192.0.2.1:8333", 4), at("192.168.0.2:8333", "192.0.2.1:4003", 99)}
	with := func(s socket) []socket { return append(slices.Clone(idle), s) }
	const listens, strict, both = "noonion=1 listen=1 discover=1 natpmp=1", "noonion=1 v2transport=0 #listen=1 #discover=1 #natpmp=1", "noonion=1 listen=1 discover=1 natpmp=1 #v2transport=0"
	for _, c := range []struct {
		name, conf, add string
		sockets         []socket
		runs            time.Duration
	}{
		{"idle", "", strict, idle, 24 * time.Hour},
		{"just started", "", both, idle, time.Minute},
		{"start unknown", "", both, idle, 0},
		{"sockets unknown", "", both, nil, 24 * time.Hour},
		{"a public peer", "", listens, with(at("192.168.0.2:8333", "192.0.2.1:4003", 5)), time.Minute},
		{"a private peer", "", listens, with(at("192.168.0.2:8333", "192.168.0.3:4003", 5)), 24 * time.Hour},
		{"a peer over Tor", "", listens, with(at("127.0.0.1:8334", "127.0.0.1:4003", 5)), 24 * time.Hour},
		{"idle, announces", "externalip=192.0.2.1", "noonion=1 listen=1 natpmp=1", idle, 24 * time.Hour},
		{"idle, listens by choice", "listen=1", "noonion=1 discover=1 natpmp=1", idle, 24 * time.Hour},
		{"idle, v2 by choice", "v2transport=1", listens, idle, 24 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bitcoin.conf")
			write(t, file, c.conf+"\n")
			sockets := c.sockets
			if strings.HasSuffix(c.name, "Tor") {
				sockets = append(sockets, at("127.0.0.1:8334", "0.0.0.0:0", 6))
			}
			p := &process{kind: kinds[0], pid: 1, args: []string{"-conf=" + file}, inodes: []uint64{1, 2, 3, 4, 5, 6}}
			if c.runs > 0 {
				p.started = time.Now().Add(-c.runs)
			}
			m := &machine{proxy: Proxy{Listen: []string{address}}, sockets: sockets}
			part := m.plan(p)
			if got, want := texts(part.Add), "proxy="+address+" "+c.add; got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			for _, other := range []bool{false, true} {
				var text strings.Builder
				for _, l := range part.Add {
					line, isComment := strings.CutPrefix(l.Text, "#")
					if other && !isComment && strings.Contains("listen=1 discover=1 natpmp=1 v2transport=0", line) {
						line = "#" + line
					} else if !other {
						line = l.Text
					}
					text.WriteString("# " + l.Why + "\n" + line + "\n")
				}
				write(t, file, text.String()+c.conf+"\n")
				if again := m.plan(p); len(again.Add)+len(again.Remove) > 0 || !strings.Contains(again.What, "configured") {
					t.Errorf("after\n%s\ngot %+v", &text, again)
				}
				if !strings.Contains(c.add, "#") { // there is no other
					break
				}
			}
		})
	}
}
