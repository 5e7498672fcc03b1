package test

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"
)

// The recipe for bitcoin.conf: Core's connections go through the proxy, upgraded, whatever -proxy is on the command
// line.
func TestCoreConfigFile(t *testing.T) {
	_, node := startCoreNode(t)
	proxy := startProxy(t)
	dir := coreDir(t, recipeAt(t, "Bitcoin Core", "proxy=", proxy.addr), "")
	client := startBitcoind(t, "client", "-datadir="+dir, "-listen=0", "-connect=localhost:"+port(t, node.p2p))
	requireCoreProxy(t, client, proxy.addr, proxy.addr)
	requireCoreSyncs(t, proxy, client, node)
}

// Which proxy Core uses if several are set: since 30.0 a proxy in a file comes after one on the command line, and the
// last one wins, as docs/clients.md says.
func TestCoreProxyPrecedence(t *testing.T) {
	const tor = "127.0.0.1:9050"
	conf := recipe(t, "Bitcoin Core", "proxy=")
	flags := recipeArgs(t, "Bitcoin Core", "bitcoind", proxyOnPage)
	for _, c := range []struct {
		name, conf, settings string
		flags                []string
		want                 string // for IPv4
		want6                string // for IPv6, if different
		file                 bool   // a file overrides the command line
	}{
		{name: "flags", flags: flags, want: proxyOnPage},
		{name: "file", conf: conf, want: proxyOnPage},
		{name: "file and -proxy", conf: conf, flags: []string{"-proxy=" + tor}, want: proxyOnPage, file: true},
		{name: "flags and proxy= in the file", conf: "proxy=" + tor + "\n", flags: flags, want: tor, file: true},
		{name: "flags and proxy=0 in the file", conf: "proxy=0\n", flags: flags, want: "", file: true},
		{name: "flags after -noproxy", conf: "proxy=" + tor + "\n", flags: append([]string{"-noproxy"}, flags...),
			want: tor, file: true},
		{name: "flags and -noconf", conf: "proxy=" + tor + "\n", flags: append([]string{"-noconf"}, flags...),
			want: proxyOnPage},
		{name: "flags and bitcoin-qt's settings", settings: `{"proxy": "` + tor + `"}`, flags: flags, want: tor, file: true},
		{name: "file and bitcoin-qt's settings", conf: conf, settings: `{"proxy": "` + tor + `"}`, want: proxyOnPage, file: true},
		{name: "flags and IPv4's in the file", conf: "proxy=" + tor + "=ipv4\n", flags: flags, want: tor, want6: proxyOnPage,
			file: true},
		{name: "two in the file", conf: "proxy=" + tor + "\n" + conf, want: proxyOnPage, file: true},
		{name: "one in a section", conf: "proxy=" + tor + "\n[regtest]\n" + conf, want: tor, file: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := startBitcoind(t, "client", append([]string{"-datadir=" + coreDir(t, c.conf, c.settings),
				"-listen=0", "-connect=0"}, c.flags...)...)
			if v := coreNetwork(t, client).Version; c.file && v < 300000 {
				notRun(t, "version %d takes the command line's", v)
			}
			requireCoreProxy(t, client, c.want, cmp.Or(c.want6, c.want))
		})
	}
}

// coreDir returns a data directory with a bitcoin.conf and a settings.json, each unless empty.
func coreDir(t *testing.T, conf, settings string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{"bitcoin.conf": conf, "regtest/settings.json": settings} {
		path = filepath.Join(dir, path)
		if text == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

type coreNetworkInfo struct {
	Version  int
	Networks []struct {
		Name, Proxy string
		Reachable   bool
	}
}

func coreNetwork(t *testing.T, core *node) coreNetworkInfo {
	t.Helper()
	return ask[coreNetworkInfo](t, core, "getnetworkinfo")
}

// requireCoreProxy checks which proxies Core uses for IPv4 and IPv6, and that it reaches no onion peers.
func requireCoreProxy(t *testing.T, core *node, ipv4, ipv6 string) {
	t.Helper()
	info := coreNetwork(t, core)
	want := map[string]string{"ipv4": ipv4, "ipv6": ipv6}
	seen := 0
	for _, network := range info.Networks {
		switch network.Name {
		case "ipv4", "ipv6":
			seen++
			if network.Proxy != want[network.Name] {
				t.Errorf("the proxy for %s is %q, want %q", network.Name, network.Proxy, want[network.Name])
			}
		case "onion":
			seen++
			if network.Reachable {
				t.Error("onion peers are reachable")
			}
		}
	}
	if seen != 3 {
		t.Errorf("getnetworkinfo lists %+v, want ipv4, ipv6 and onion", info.Networks)
	}
}
