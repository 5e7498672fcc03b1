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
	k := kindNamed(name)
	dir := t.TempDir()
	path := filepath.Join(dir, k.conf)
	write(t, path, conf)
	if m.proxy.Listen == nil {
		m.proxy.Listen = []string{address, "[::1]:1324"}
	}
	return m.plan(&process{kind: k, home: dir, dir: dir, conf: path, args: flags})
}

func kindNamed(name string) *kind {
	return kinds[slices.IndexFunc(kinds, func(k *kind) bool { return k.name == name })]
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

func TestPlanOthers(t *testing.T) {
	const tor = "socks5://127.0.0.1:9050"
	const lnd = "[tor] tor.active=true tor.socks=" + address
	const neutrino = "bitcoin.node=neutrino\n"
	for _, c := range []struct{ name, conf, flags, upstream, add, remove, what, onion string }{
		{name: "btcd", conf: "proxy=" + address, onion: tor, what: "configured"},
		{name: "btcd", conf: "proxy=" + address + "\nnoonion=1", onion: tor, what: "configured"},
		{name: "btcd", conf: "proxy=127.0.0.1:9050", onion: tor, what: "setup prints no lines"},
		{name: "btcd", conf: "proxy=127.0.0.1:9050", what: "setup prints no lines"},
		{name: "btcd", conf: "proxy=127.0.0.1:9050", upstream: tor, add: "[Application Options] proxy=" + address, remove: "proxy=127.0.0.1:9050"},
		{name: "btcd", flags: "--proxy 127.0.0.1:1324 --noonion", what: "configured"},
		{name: "btcd", flags: "--proxy=127.0.0.1:1324 --configfile=" + os.DevNull, add: "--noonion"},
		{name: "btcd", conf: "proxy=" + address + "\nnoonion=True", what: "configured"},
		{name: "btcd", conf: "proxy=" + address + "\nnoonion=F", add: "[Application Options] noonion=1"},
		{name: "btcd", conf: "proxy=" + address + "\nnoonion=yes", what: "setup prints no lines"},
		{name: "btcd", conf: "proxy=" + address + " # mine\nnoonion=1", what: "setup prints no lines"},
		{name: "btcd", conf: "proxy=\"" + address + "\"\nnoonion=1", what: "setup prints no lines"},
		{name: "btcd", conf: "proxy=" + address + "\nonion=127.0.0.1:9050", what: "setup prints no lines"},
		{name: "btcd", conf: "proxy=" + address + "\nnoonion=1\nOnionProxy=127.0.0.1:9050", what: "setup prints no lines"},
		{name: "btcd", conf: "Proxy=127.0.0.1:9050", what: "setup prints no lines"},
		{name: "btcd", conf: "Proxy=127.0.0.1:9050", upstream: tor, what: "setup prints no lines"},
		{name: "btcd", conf: "\ufeffproxy=" + address + "\nnoonion=1", what: "not seen running"},
		{name: "btcd", conf: "[other]\nproxy=" + address + "\nnoonion=1", what: "setup prints no lines"},
		{name: "btcd", conf: "noonion=1\nproxy=" + page, add: "[Application Options] proxy=" + address, remove: "proxy=" + page},
		{name: "btcd", conf: "proxy=" + address, add: "[Application Options] noonion=1"},
		{name: "btcd", conf: "proxy=" + address + "\nnoonion=1", upstream: tor, remove: "noonion=1"},
		{name: "btcd", conf: "proxy=" + address + "\nnoonion=0", upstream: tor, what: "configured"},
		{name: "btcd", conf: "proxy=" + address + "\nonion=" + address, upstream: tor, what: "configured"},
		{name: "utreexod", conf: "proxy=" + address, upstream: tor, what: "configured"},
		{name: "lnd", what: "needs nothing: its Bitcoin peers are those of btcd"},
		{name: "lnd", conf: neutrino, flags: "--bitcoin.node bitcoind", what: "needs nothing: its Bitcoin peers are those of bitcoind"},
		{name: "lnd", conf: "bitcoin.node=other", what: "setup prints no lines"},
		{name: "lnd", conf: "[Bitcoin]\nbitcoin.node=neutrino", add: lnd},
		{name: "lnd", conf: "[Bitcoin]\nnode=neutrino", what: "setup prints no lines"},
		{name: "lnd", conf: neutrino + "tor.active=1", what: "setup prints no lines"},
		{name: "lnd", conf: neutrino + "tor.active=1", upstream: tor, add: "[tor] tor.socks=" + address},
		{name: "lnd", conf: neutrino + "tor.active=false\ntor.active=true", what: "setup prints no lines"},
		{name: "lnd", conf: neutrino + "tor.active=False\ntor.socks=" + address, what: "setup prints no lines"},
		{name: "lnd", conf: neutrino + "tor.active=on\ntor.socks=" + address, what: "setup prints no lines"},
		{name: "lnd", conf: neutrino + "[tor]\nActive=true\nSOCKS=127.0.0.1:9050", what: "setup prints no lines"},
		{name: "lnd", conf: neutrino + "tor.active=1\ntor.socks=" + address, what: "configured"},
		{name: "lnd", conf: neutrino + "tor.active=1\ntor.socks=" + address + "\ntor.skip-proxy-for-clearnet-targets=true", what: "setup prints no lines"},
		{name: "lnd", conf: neutrino + "tor.active=1\ntor.socks=" + address + "\ntor.skip-proxy-for-clearnet-targets=false", what: "configured"},
		{name: "bcoin", conf: "proxy: " + address, what: "configured"},
		{name: "bcoin", conf: "proxy: " + address + "\nonion: true", what: "setup prints no lines"},
		{name: "bcoin", conf: "prefix: x\\\nproxy: " + address, what: "not seen running"},
		{name: "bcoin", conf: "pro-xy: 10.0.0.1:9050", what: "setup prints no lines"},
		{name: "bcoin", conf: "proxy: 127.0.0.1:9050", upstream: tor, add: "proxy: " + address, remove: "proxy: 127.0.0.1:9050"},
	} {
		m := &machine{proxy: Proxy{Page: page, Upstream: c.upstream, Onion: c.onion, Status: new(status.Report)}}
		part := planOf(t, m, c.name, c.conf+"\n", strings.Fields(c.flags)...)
		if c.flags != "" {
			part = m.plan(&process{kind: kindNamed(c.name), pid: 1, home: t.TempDir(), args: strings.Fields(c.flags)})
			if c.conf != "" {
				part = planOf(t, m, c.name, c.conf+"\n", strings.Fields(c.flags)...)
			}
		}
		if texts(part.Add) != c.add || texts(part.Remove) != c.remove || !strings.Contains(part.What, c.what) || strings.Contains(part.What, ": configured") != (c.what == "configured") {
			t.Errorf("%s: %q %q: add %q, want %q; remove %q, want %q; %s %q", c.name, c.conf, c.flags, texts(part.Add), c.add, texts(part.Remove), c.remove, part.What, part.Hints)
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
		{"btcd", "-CDIR/my.conf", "my.conf"},
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
	m := &machine{proxy: Proxy{Listen: []string{address}, Status: &status.Report{Snapshot: proxy.Snapshot{Counts: proxy.Counts{Refusals: refusals}}}}}
	part := m.plan(&process{kind: kinds[0], pid: 1, apart: "a container"})
	if len(part.Hints) != 2 || part.Hints[0] != "the proxy refuses a client, perhaps this one: the client 172.30.0.3 is not admitted; add --clients 172.30.0.3" {
		t.Errorf("got %q", part.Hints)
	}
	session := proxy.SessionInfo{Client: "172.30.0.3:4001", Transport: "v2", Network: "testnet4", ClientAgent: "/Satoshi:31.0.0/"}
	for _, sessions := range [][]proxy.SessionInfo{nil, {session}} {
		m := &machine{proxy: Proxy{Listen: []string{address}, Status: &status.Report{Snapshot: proxy.Snapshot{Sessions: sessions}}}}
		part := m.plan(&process{kind: kinds[0], pid: 1, apart: "a container", inodes: []uint64{}})
		if (part.State == OK) != (sessions != nil) || !strings.Contains(part.What, "in a container") || len(part.Add) > 0 {
			t.Errorf("got %+v", part)
		}
	}
}

// A proxy without --listen, such as that of run, does not serve programs with a proxy setting.
func TestNoListener(t *testing.T) {
	for _, c := range []struct {
		listeners, socks []string
		want             State
	}{
		{[]string{"127.0.0.1:1"}, nil, Note},
		{[]string{address}, []string{address}, OK},
	} {
		m := &machine{proxy: Proxy{Listen: []string{address}, Page: page, Status: &status.Report{Snapshot: proxy.Snapshot{Listeners: c.listeners, SOCKS: c.socks}}}}
		if part := m.proxyPart(); part.State != c.want || strings.Contains(part.What, "listening;") != (c.want == OK) {
			t.Errorf("%v: got %+v", c.listeners, part)
		}
	}
}

// A program whose connections the system redirects needs no setting; one that has connected to the
// proxy itself does.
func TestRedirected(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "btcd.conf")
	write(t, conf, "")
	for client, want := range map[string]State{"192.0.2.1:4001": OK, "127.0.0.1:4001": ToDo} {
		m := &machine{
			proxy: Proxy{Listen: []string{address}, Page: page, Status: &status.Report{Snapshot: proxy.Snapshot{
				Listeners: []string{address, "127.0.0.1:1326"}, SOCKS: []string{address}, Transparent: []string{"127.0.0.1:1326"},
				Sessions: []proxy.SessionInfo{{Client: client, Transport: "v2"}},
			}}},
			sockets: []socket{{local: netip.MustParseAddrPort(client), inode: 7}},
		}
		part := m.plan(&process{kind: kindNamed("btcd"), pid: 1, home: dir, dir: dir, conf: conf, inodes: []uint64{7}})
		if part.State != want || strings.HasSuffix(part.What, "redirected to the proxy by the system; 1 session: 1 v2") != (want == OK) || (len(part.Add) == 0) != (want == OK) {
			t.Errorf("%s: got %+v", client, part)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		listen []string
		want   string
		others []string // that are the proxy, too
	}{
		{[]string{"127.0.0.1:1324", "[::1]:1324"}, "127.0.0.1:1324", []string{"[::1]:1324", "localhost:1324"}},
		{[]string{"localhost:1"}, "localhost:1", nil},
		{[]string{"0.0.0.0:1"}, "127.0.0.1:1", []string{"localhost:1", "127.0.0.2:1"}},
		{[]string{"unix:/run/p?group=g", "10.0.0.1:2"}, "10.0.0.1:2", []string{"unix:/run/p"}},
		{[]string{"unix:/run/p?group=g"}, "unix:/run/p", nil},
	} {
		m := &machine{proxy: Proxy{Listen: c.listen}}
		if local := !strings.HasPrefix(c.want, "10."); m.isLocal() != local && c.want != "localhost:1" {
			t.Errorf("%s is local: %t, want %t", c.want, !local, local)
		}
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
		r := &Report{Parts: []Part{part, planOf(t, through, k.name, conf, flags...), m.proxyPart()}}
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
		m := &machine{proxy: Proxy{Status: &status.Report{Snapshot: proxy.Snapshot{Started: time.Now(), Sessions: c.sessions, Counts: proxy.Counts{Failing: c.failing}}}}}
		if part := planOf(t, m, "Bitcoin Core", conf); part.State != c.state || !strings.HasSuffix(part.What, c.want) || (c.state == ToDo) != (len(part.Hints) > 0) {
			t.Errorf("got %+v, want %s: %s", part, c.state, c.want)
		}
	}
}
