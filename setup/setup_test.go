package setup

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/proxy"
	"bip324proxy/status"
)

const address, page = "127.0.0.1:1324", "127.0.0.1:1325"

// planOf returns the plan of a kind with this configuration file.
func planOf(t *testing.T, m *machine, name, conf string, flags ...string) Part {
	t.Helper()
	i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == name })
	dir := t.TempDir()
	path := filepath.Join(dir, kinds[i].conf)
	write(t, path, conf)
	if m.proxy.Listen == nil {
		m.proxy.Listen = []string{address, "[::1]:1324"}
	}
	return m.plan(&process{kind: kinds[i], home: dir, dir: dir, conf: path, args: flags})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func texts(lines []Line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Text)
	}
	return strings.Join(all, " ")
}

// The plans of an empty file are the recipes on the page, and after a recipe nothing is left to write.
func TestPlansAreRecipes(t *testing.T) {
	page, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, section, begin, conf string
		same                       bool // the lines are the whole recipe
	}{
		{"Bitcoin Core", "Bitcoin Core", "proxy=", "connect=localhost\n", true},
		{"btcd", "btcd", "[Application Options]", "", true},
		{"utreexod", "btcd", "[Application Options]", "", true},
		{"lnd", "lnd", "[Bitcoin]", "[Bitcoin]\nbitcoin.node=neutrino\n", false},
	} {
		_, text, _ := strings.Cut(strings.ReplaceAll(string(page), "\r", ""), "\n## "+c.section+"\n")
		_, text, found := strings.Cut(text, "\n    "+c.begin)
		var recipe []string
		for line := range strings.SplitSeq(c.begin+text, "\n") {
			if line = strings.TrimPrefix(line, "    "); line != "" && !strings.ContainsAny(line[:1], "[abcdefghijklmnopqrstuvwxyz") || strings.Contains(line, " ") && line[0] != '[' {
				break
			}
			if line != "" {
				recipe = append(recipe, line)
			}
		}
		if !found || len(recipe) < 3 {
			t.Fatalf("%s: the recipe is %q", c.section, recipe)
		}
		part := planOf(t, new(machine), c.name, c.conf)
		if c.same && texts(part.Add) != strings.Join(recipe, " ") {
			t.Errorf("%s: got %s, want the recipe %q", c.name, texts(part.Add), recipe)
		}
		for _, line := range part.Add {
			if !slices.Contains(recipe, line.Text) {
				t.Errorf("%s: %s is not in the recipe %q", c.name, line.Text, recipe)
			}
		}
		if part := planOf(t, new(machine), c.name, strings.Join(recipe, "\n")+"\n"); len(part.Add)+len(part.Remove) > 0 || !strings.Contains(part.What, "configured") {
			t.Errorf("%s: after the recipe: %+v", c.name, part)
		}
	}
	if want := "`~/.bcoin/regtest/bcoin.conf`):\n\n    proxy: " + address + "\n"; !strings.Contains(string(page), want) || texts(planOf(t, new(machine), "bcoin", "").Add) != "proxy: "+address {
		t.Errorf("bcoin: the page's recipe is not %s", want)
	}
}

func TestPlanCore(t *testing.T) {
	const strict = "proxy=" + address + " noonion=1 v2transport=0"
	for _, c := range []struct {
		name, conf, flags, upstream string
		files                       map[string]string
		add, remove                 string
		needs                       string // the upstream that the proxy needs
	}{
		{name: "by default it listens", add: "proxy=" + address + " noonion=1 listen=1 discover=1 #v2transport=0"},
		{name: "the status page", conf: "proxy=" + page + "\nnoonion=1\nv2transport=0", remove: "proxy=" + page, add: "proxy=" + address},
		{name: "the status page, by name, and for onion peers", conf: "proxy=" + address + "\nonion=localhost:1325\nv2transport=0", remove: "onion=localhost:1325", add: "noonion=1"},
		{name: "does not listen", conf: "listen=0", add: strict},
		{name: "does not listen, by a flag", flags: "-nolisten", add: strict},
		{name: "a negation", conf: "nolisten=1", add: strict},
		{name: "the first line counts", conf: "listen=0\nlisten=1", add: strict},
		{name: "the last flag counts", flags: "-listen=1 -listen=0", add: strict},
		{name: "announces an address", conf: "externalip=192.0.2.1", add: "proxy=" + address + " noonion=1 listen=1"},
		{name: "configured", conf: "proxy=" + address + "\nonion=0\nv2transport=0"},
		{name: "configured by name", conf: "proxy=localhost:1324\nnoonion=1\nv2transport=0"},
		{name: "configured by flags", flags: "-proxy=" + address + " -noonion -v2transport=0"},
		{name: "its own v2", conf: "proxy=" + address + "\nnoonion=1\nv2transport=1"},
		{name: "listens, configured", conf: "proxy=" + address + "\nnoonion=1\nlisten=1\ndiscover=1"},
		{name: "inbound in plaintext", conf: "proxy=" + address + "\nnoonion=1\nlisten=1\nv2transport=0", remove: "v2transport=0"},
		{name: "Tor for onion peers only", conf: "proxy=" + address + "\nonion=127.0.0.1:9050\nv2transport=0"},
		{name: "Tor for onion peers only, by its network", conf: "proxy=" + address + "\nproxy=127.0.0.1:9050=onion\nnoonion=1\nv2transport=0"},
		{name: "onion through the proxy", conf: "proxy=" + address + "\nonion=" + address + "\nv2transport=0", remove: "onion=" + address, add: "noonion=1"},
		{name: "onion through the proxy and Tor", conf: "proxy=" + address + "\nonion=" + address + "\nv2transport=0", upstream: "socks5://127.0.0.1:9050"},
		{name: "Tor", conf: "# mine\nproxy=127.0.0.1:9050 # tor", remove: "proxy=127.0.0.1:9050", add: "proxy=" + address + " v2transport=0", needs: "socks5://127.0.0.1:9050"},
		{name: "Tor without a port", conf: "proxy=127.0.0.1", remove: "proxy=127.0.0.1", add: "proxy=" + address + " v2transport=0", needs: "socks5://127.0.0.1:9050"},
		{name: "Tor's socket", conf: "proxy=unix:/run/tor/socks", remove: "proxy=unix:/run/tor/socks", add: "proxy=" + address + " v2transport=0", needs: "socks5+unix:///run/tor/socks"},
		{name: "the upstream already", conf: "proxy=127.0.0.1:9050\nlisten=1", upstream: "socks5://127.0.0.1:9050", remove: "proxy=127.0.0.1:9050", add: "proxy=" + address},
		{name: "a flag", conf: "proxy=" + address + "\nnoonion=1\nv2transport=0", flags: "-proxy=127.0.0.1:9050", remove: "-proxy=127.0.0.1:9050", needs: "socks5://127.0.0.1:9050"},
		{name: "off", conf: "proxy=0\n" + "proxy=" + address + "\nnoonion=1\nv2transport=0", remove: "proxy=0"},
		{name: "IPv4 only", conf: "proxy=" + address + "=ipv4\nnoonion=1\nlisten=0", remove: "proxy=" + address + "=ipv4", add: "proxy=" + address + " v2transport=0"},
		{name: "another network's section", conf: "proxy=" + address + "\nnoonion=1\nv2transport=0\n[test]\nproxy=127.0.0.1:9050"},
		{name: "the network's section", conf: "chain=test\nproxy=" + address + "\nnoonion=1\nv2transport=0\n[test]\nproxy=127.0.0.1:9050", remove: "proxy=127.0.0.1:9050", needs: "socks5://127.0.0.1:9050"},
		{name: "the network's section, in one word", conf: "proxy=" + address + "\nnoonion=1\nv2transport=0\nregtest.proxy=127.0.0.1:9050", flags: "-regtest", remove: "proxy=127.0.0.1:9050", needs: "socks5://127.0.0.1:9050"},
		{name: "settings.json", conf: "proxy=" + address + "\nnoonion=1\nv2transport=0", flags: "-testnet", files: map[string]string{"testnet3/settings.json": `{"proxy": "127.0.0.1:9050", "wallet": ["x"]}`}, remove: "proxy=127.0.0.1:9050", needs: "socks5://127.0.0.1:9050"},
		{name: "an included file", conf: "includeconf=more.conf\nnoonion=1\nv2transport=0", files: map[string]string{"more.conf": "proxy=" + address + "\nincludeconf=more.conf\nproxy=10.0.0.1:9050"}, remove: "proxy=10.0.0.1:9050", needs: "socks5://10.0.0.1:9050"},
		{name: "no file", conf: "proxy=127.0.0.1:9050", flags: "-noconf", add: "-proxy=" + address + " -noonion=1 -listen=1 -discover=1"},
		{name: "credentials by mistake", conf: "proxy=user:hunter2@127.0.0.1:9050\nlisten=0", remove: "proxy=127.0.0.1:9050", add: "proxy=" + address + " v2transport=0", needs: "socks5://127.0.0.1:9050"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				write(t, filepath.Join(dir, name), text)
			}
			path := filepath.Join(dir, "bitcoin.conf")
			write(t, path, c.conf+"\n")
			with := func(upstream string) Part {
				m := &machine{proxy: Proxy{Listen: []string{address}, Page: page, Upstream: upstream}, upstream: upstream}
				return m.plan(&process{kind: kinds[0], pid: 1, args: append(strings.Fields(c.flags), "-datadir="+dir)})
			}
			part := with(c.upstream)
			if c.needs != "" {
				if hint := strings.Join(part.Hints, ""); len(part.Add)+len(part.Remove) > 0 || part.State != ToDo || !strings.Contains(hint, "--upstream "+c.needs+",") {
					t.Errorf("without the upstream %s: got %+v", c.needs, part)
				}
				part = with(c.needs)
			}
			if texts(part.Add) != c.add || texts(part.Remove) != c.remove {
				t.Errorf("add %q, want %q; remove %q, want %q\n%+v", texts(part.Add), c.add, texts(part.Remove), c.remove, part)
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

// A Core that listens by default has both recipes in its lines, one of them in comments: which, depends on whether
// another node is connected. Each is complete.
func TestPlanCoreInbound(t *testing.T) {
	at := func(local, remote string, inode uint64) socket {
		return socket{netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote), remote == "0.0.0.0:0", inode}
	}
	idle := []socket{at("0.0.0.0:8333", "0.0.0.0:0", 1), at("127.0.0.1:8332", "0.0.0.0:0", 2), // of P2P and RPC
		at("127.0.0.1:8332", "127.0.0.1:4001", 3), at("192.168.0.2:4002", "192.0.2.1:8333", 4), at("192.168.0.2:8333", "192.0.2.1:4003", 99)}
	with := func(s socket) []socket { return append(slices.Clone(idle), s) }
	const listens, strict, both = "noonion=1 listen=1 discover=1", "noonion=1 v2transport=0 #listen=1 #discover=1", "noonion=1 listen=1 discover=1 #v2transport=0"
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
		{"idle, announces", "externalip=192.0.2.1", "noonion=1 listen=1", idle, 24 * time.Hour},
		{"idle, listens by choice", "listen=1", "noonion=1 discover=1", idle, 24 * time.Hour},
		{"idle, v2 by choice", "v2transport=1", both, idle, 24 * time.Hour},
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
					if other && !isComment && strings.Contains("listen=1 discover=1 v2transport=0", line) {
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

func TestPlanOthers(t *testing.T) {
	const lnd = "[tor] tor.active=true tor.socks=" + address
	for _, c := range []struct{ name, conf, flags, add, remove, what string }{
		{name: "btcd", conf: "proxy=127.0.0.1:9050", add: "[Application Options] proxy=" + address, remove: "proxy=127.0.0.1:9050"},
		{name: "btcd", flags: "--proxy 127.0.0.1:1324 --noonion"},
		{name: "btcd", conf: "proxy=" + address + "\nonion=127.0.0.1:9050"},
		{name: "btcd", conf: "noonion=1\nproxy=" + page, add: "[Application Options] proxy=" + address, remove: "proxy=" + page},
		{name: "btcd", conf: "proxy=" + address, add: "[Application Options] noonion=1"},
		{name: "lnd", what: "needs nothing: its Bitcoin peers are those of btcd"},
		{name: "lnd", conf: "bitcoin.node=neutrino", flags: "--bitcoin.node bitcoind", what: "needs nothing: its Bitcoin peers are those of bitcoind"},
		{name: "lnd", conf: "[Bitcoin]\nbitcoin.node=neutrino", add: lnd},
		{name: "lnd", conf: "bitcoin.node=neutrino\ntor.active=1", add: "[tor] tor.socks=" + address},
		{name: "lnd", conf: "bitcoin.node=neutrino\ntor.active=false\ntor.socks=" + address, add: "[tor] tor.active=true", remove: "tor.active=false"},
		{name: "lnd", conf: "bitcoin.node=neutrino\ntor.active=1\ntor.socks=" + address + "\ntor.skip-proxy-for-clearnet-targets=true", remove: "tor.skip-proxy-for-clearnet-targets=true"},
		{name: "bcoin", conf: "proxy: 10.0.0.1:9050\nonion: true", add: "proxy: " + address, remove: "proxy: 10.0.0.1:9050 onion: true"},
	} {
		m := &machine{proxy: Proxy{Page: page}}
		if strings.Contains(c.remove, ":9050") || strings.HasSuffix(c.conf, "tor.active=1") {
			if part := planOf(t, m, c.name, c.conf+"\n", strings.Fields(c.flags)...); len(part.Add)+len(part.Remove) > 0 || !strings.Contains(strings.Join(part.Hints, ""), "see this machine's address") {
				t.Errorf("%s: %q: got %+v", c.name, c.conf, part)
			}
			m = &machine{proxy: Proxy{Upstream: "socks5://127.0.0.1:9050"}, upstream: "socks5://127.0.0.1:9050"}
		}
		part := planOf(t, m, c.name, c.conf+"\n", strings.Fields(c.flags)...)
		if texts(part.Add) != c.add || texts(part.Remove) != c.remove || !strings.Contains(part.What, c.what) {
			t.Errorf("%s: %q %q: add %q, want %q; remove %q, want %q; %s", c.name, c.conf, c.flags, texts(part.Add), c.add, texts(part.Remove), c.remove, part.What)
		}
	}
}

// btcd reads no file at its usual place on its networks for tests.
func TestPlanBtcdFlags(t *testing.T) {
	for flags, want := range map[string]string{
		"--regtest": "--proxy=" + address + " --noonion",
		"--simnet --proxy=" + address + " --noonion": "",
		"--regtest --configfile=DIR/my.conf":         "[Application Options] proxy=" + address + " noonion=1",
		"--testnet":                                  "",
	} {
		dir := t.TempDir()
		t.Setenv("LOCALAPPDATA", dir) // home, on Windows
		i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == "btcd" })
		write(t, filepath.Join(kinds[i].dataDir(dir), "btcd.conf"), "proxy="+address+"\nnoonion=1\n")
		m := &machine{proxy: Proxy{Listen: []string{address}}}
		part := m.plan(&process{kind: kinds[i], pid: 1, home: dir, dir: dir, args: strings.Fields(strings.ReplaceAll(flags, "DIR", dir))})
		if texts(part.Add) != want || (part.File == "") != strings.HasPrefix(want, "--") && want != "" {
			t.Errorf("%s: got %+v, want %s", flags, part, want)
		}
	}
}

// Where a program's file is, by its flags.
func TestConfFile(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, flags, want string }{
		{"Bitcoin Core", "-datadir=DIR/data", "data/bitcoin.conf"},
		{"Bitcoin Core", "-datadir=data", "work/data/bitcoin.conf"},
		{"Bitcoin Core", "-datadir=DIR/data -conf=DIR/etc/my.conf", "etc/my.conf"},
		{"Bitcoin Core", "-datadir=DIR/data -conf=my.conf", "data/my.conf"},
		{"btcd", "-C DIR/my.conf", "my.conf"},
		{"btcd", "--configfile=my.conf", "work/my.conf"},
		{"btcd", "--configfile=~/my.conf", "home/my.conf"},
		{"lnd", "--lnddir=DIR/lnd", "lnd/lnd.conf"},
		{"bcoin", "--prefix DIR/bcoin -n regtest", "bcoin/regtest/bcoin.conf"},
		{"bcoin", "--network=main", "home/.bcoin/bcoin.conf"},
	} {
		i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == c.name })
		p := &process{kind: kinds[i], pid: 1, dir: filepath.Join(dir, "work"), home: filepath.Join(dir, "home"), args: strings.Fields(strings.ReplaceAll(c.flags, "DIR", dir))}
		if got, want := p.confFile(), filepath.Join(dir, c.want); got != want {
			t.Errorf("%s %s: got %s, want %s", c.name, c.flags, got, want)
		}
	}
	p := &process{kind: kinds[0], pid: 1, args: []string{"-datadir=data"}} // its directory is unknown
	if part := (&machine{proxy: Proxy{Listen: []string{address}}}).plan(p); part.State != ToDo || !strings.Contains(part.What, "cannot be read") {
		t.Errorf("got %+v", part)
	}
}

// A program in a container is recognized by its user agent only; a refused client may be it.
func TestContainer(t *testing.T) {
	refusals := []proxy.Outcome{{Kind: proxy.KindClientNotAllowed, Reason: "the client 172.30.0.3 is not admitted", Hint: "add --clients 172.30.0.3"}, {Kind: "other"}}
	m := &machine{proxy: Proxy{Listen: []string{address}, Status: &status.Report{Snapshot: proxy.Snapshot{Refusals: refusals}}}}
	part := m.plan(&process{kind: kinds[0], pid: 1, container: true})
	if len(part.Hints) != 2 || part.Hints[0] != "the proxy refuses a client, perhaps this one: the client 172.30.0.3 is not admitted; add --clients 172.30.0.3" {
		t.Errorf("got %q", part.Hints)
	}
	session := proxy.SessionInfo{Client: "172.30.0.3:4001", Transport: "v2", Network: "testnet4", ClientAgent: "/Satoshi:31.0.0/"}
	for _, sessions := range [][]proxy.SessionInfo{nil, {session}} {
		m := &machine{proxy: Proxy{Listen: []string{address}, Status: &status.Report{Snapshot: proxy.Snapshot{Sessions: sessions}}}}
		part := m.plan(&process{kind: kinds[0], pid: 1, container: true, inodes: []uint64{}})
		if (part.State == OK) != (sessions != nil) || !strings.Contains(part.What, "in a container") || len(part.Add) > 0 {
			t.Errorf("got %+v", part)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		listen []string
		want   string
		others []string // that are the proxy, too
	}{
		{[]string{"127.0.0.1:1324", "[::1]:1324"}, "127.0.0.1:1324", []string{"[::1]:1324", "localhost:1324", "socks5://127.0.0.1:1324"}},
		{[]string{"0.0.0.0:1"}, "127.0.0.1:1", []string{"localhost:1"}},
		{[]string{"unix:/run/p?group=g", "10.0.0.1:2"}, "10.0.0.1:2", []string{"unix:/run/p"}},
		{[]string{"unix:/run/p?group=g"}, "unix:/run/p", nil},
	} {
		m := &machine{proxy: Proxy{Listen: c.listen}}
		if got := m.address(); got != c.want {
			t.Errorf("%q: got %s, want %s", c.listen, got, c.want)
		}
		for _, addr := range append(c.others, c.want) {
			if !m.isProxy(addr) || m.isProxy(addr+"0") || m.isProxy("127.0.0.1:9050") {
				t.Errorf("%q: %s", c.listen, addr)
			}
		}
	}
}

// Only Core can use a proxy without a TCP listener.
func TestPlanSocket(t *testing.T) {
	m := &machine{proxy: Proxy{Listen: []string{"unix:/run/p?group=bitcoin"}}}
	if part := planOf(t, m, "Bitcoin Core", "listen=0\n"); !strings.HasPrefix(texts(part.Add), "proxy=unix:/run/p ") {
		t.Errorf("got %+v", part)
	}
	if part := planOf(t, m, "btcd", ""); part.State != ToDo || len(part.Add) > 0 || !strings.Contains(part.Hints[len(part.Hints)-1], "--listen") {
		t.Errorf("got %+v", part)
	}
}

// No value of an unknown key is kept, whatever the file, and no credentials of a proxy.
func TestSecrets(t *testing.T) {
	const secret = "hunter2"
	conf := "rpcuser=hunter2\nrpcpassword=hunter2\nrpcauth=u:hunter2\nproxyuser=hunter2\nproxypass=hunter2\n[tor]\ntor.password=hunter2\n" +
		"main.rpcpassword=hunter2\nbitcoind.rpcpass=hunter2\napi-key: hunter2\nhunter2\n[hunter2]\n[Bitcoin]\nbitcoin.node=neutrino\nproxy=hunter2@127.0.0.1:9050\nproxy: u:hunter2@127.0.0.1:9050\ntor.socks=u:hunter2@127.0.0.1:9050\n"
	flags := []string{"-rpcpassword=hunter2", "--rpcpass", "hunter2", "-proxy=u:hunter2@127.0.0.1:9050"}
	for _, k := range kinds {
		if k.plan == nil || k.conf == "" {
			continue
		}
		m, through := new(machine), &machine{proxy: Proxy{Upstream: "socks5://127.0.0.1:9050"}}
		part := planOf(t, m, k.name, conf, flags...)
		r := &Report{Parts: []Part{part, planOf(t, through, k.name, conf, flags...), m.proxyPart(), {What: m.upstream}}}
		var text bytes.Buffer
		if err := r.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		document, err := json.Marshal(r)
		if err != nil || strings.Contains(text.String()+string(document), secret) {
			t.Errorf("%s: %v\n%s%s", k.name, err, &text, document)
		}
		if part.State != ToDo {
			t.Errorf("%s: got %+v", k.name, part)
		}
	}
}

// A program's sessions are recognized by its sockets or, if these are unknown, by its user agent.
func TestWatch(t *testing.T) {
	const conf = "proxy=" + address + "\nnoonion=1\nv2transport=0\nregtest=1\n"
	sessions := []proxy.SessionInfo{
		{Client: "127.0.0.1:4001", Transport: "v2", Network: "regtest", ClientAgent: "/Satoshi:31.0.0/"},
		{Client: "127.0.0.1:4002", Transport: "v2", Network: "mainnet", ClientAgent: "/Satoshi:31.0.0/"},
		{Client: "127.0.0.1:4003", Transport: "v1", Network: "regtest", ClientAgent: "/Satoshi:31.0.0/"},
		{Client: "127.0.0.1:4004", Transport: "v2", Network: "regtest", ClientAgent: "/btcwire:0.5.0/btcd:0.26.2/"},
		{Client: "127.0.0.1:4005", Transport: "passthrough", Dest: "node.example:18444"},
		{Client: "127.0.0.1:4006", ClientAgent: "/Satoshi:31.0.0/", Network: "regtest"}, // not open yet
	}
	for _, c := range []struct {
		sessions []proxy.SessionInfo
		failing  *proxy.Failing
		state    State
		want     string
	}{
		{sessions, nil, OK, "3 sessions: 1 passed through (its own v2, or not Bitcoin), 1 v1, in plaintext, 1 v2"},
		{sessions[:1], nil, OK, "1 session: 1 v2"},
		{sessions[1:2], nil, ToDo, "the proxy has no session from it"},
		{nil, &proxy.Failing{Reason: "no route"}, ToDo, "the proxy has no session from it"},
	} {
		m := &machine{proxy: Proxy{Status: &status.Report{Snapshot: proxy.Snapshot{Started: time.Now(), Sessions: c.sessions, Failing: c.failing}}}}
		if part := planOf(t, m, "Bitcoin Core", conf); part.State != c.state || !strings.HasSuffix(part.What, c.want) || (c.state == ToDo) != (len(part.Hints) > 0) {
			t.Errorf("got %+v, want %s: %s", part, c.state, c.want)
		}
	}
}
