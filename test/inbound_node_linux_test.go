package test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/test/hostile"
)

// The whole nodes of docs/inbound.md, in a namespace with the network's addresses: peers connect to the machine, and the
// node connects to a peer, each in v2.
//
//	below ──v2─▶ 9.9.9.9:8333 proxy ──v1─▶ 127.0.0.1:8335 node ──v1─▶ 127.0.0.1 proxy ──v2─▶ 5.5.5.5:18444 above
const (
	machineOnPage = "203.0.113.7"
	machine       = "9.9.9.9"
	aboveAddr     = "5.5.5.5:18444"
	belowIP       = "7.7.7.7"
	strangerIP    = "7.7.7.8" // speaks v1
)

// internet gives the namespace those addresses. Connections to one come from another one, not from the same.
var internet = []string{
	"addr add 5.5.5.5/32 dev lo",
	"addr add 7.7.7.7/32 dev lo",
	"addr add 7.7.7.8/32 dev lo",
	"addr add 9.9.9.9/32 dev lo",
	"route replace local 5.5.5.5/32 dev lo table local src 9.9.9.9",
	"route replace local 9.9.9.9/32 dev lo table local src 7.7.7.7",
}

// A btcd without v2.
func TestWholeNodeBtcd(t *testing.T) {
	t.Parallel()
	if namespace(t) {
		followWholeNode(t, func(proxy string) *node {
			return startBtcd(t, "node", &chaincfg.RegressionNetParams, append(nodeArgs(t, "btcd", proxy), "--addpeer="+aboveAddr)...)
		})
	}
}

// A Core without v2.
func TestWholeNodeCore(t *testing.T) {
	if os.Getenv("BITCOIND") == "" {
		notRun(t, "Bitcoin Core is missing; BITCOIND=/path/to/bitcoind runs them")
	}
	t.Parallel()
	if namespace(t) {
		followWholeNode(t, func(proxy string) *node {
			node := startBitcoind(t, "node", append(nodeArgs(t, "bitcoind", proxy), "-addnode="+aboveAddr)...)
			info := ask[struct {
				LocalAddresses []struct {
					Address string
					Port    int
				}
			}](t, node, "getnetworkinfo")
			if local := info.LocalAddresses; len(local) != 1 || local[0].Address != machine || local[0].Port != 8333 {
				t.Errorf("Core announces %+v, want only %s:8333", local, machine)
			}
			return node
		})
	}
}

// bcoin has only v1.
func TestWholeNodeBcoin(t *testing.T) {
	t.Parallel()
	dir := installBcoin(t)
	if namespace(t) {
		followWholeNode(t, func(proxy string) *node {
			args := nodeArgs(t, "bcoin", proxy)
			i := slices.Index(args, "--plugins=/etc/bcoin/listen.js")
			if i < 0 {
				t.Fatalf("the recipe loads no plugin: %q", args)
			}
			plugin := filepath.Join(t.TempDir(), "listen.js")
			writeFile(t, plugin, codeOn(t, "inbound.md", "bcoin", "exports."))
			args[i] = "--plugins=" + plugin
			env := []string{"NODE_BACKEND=js", "BCOIN_NO_NATIVE=1", "node", filepath.Join(dir, "node_modules", "bcoin", "bin", "node")} // nothing was compiled
			node := &node{rpc: "http://127.0.0.1:8332", program: start(t, "bcoin", "env", slices.Concat(env, args, []string{
				"--network=regtest", "--memory=true", "--prefix=" + t.TempDir(), "--no-wallet", "--nodes=" + aboveAddr,
				"--http-port=8332", "--api-key=" + rpcPassword})...)}
			node.awaitLine(t, "it listens", func(line string) bool {
				return strings.Contains(line, "Pool server listening on 127.0.0.1 (port=8335)")
			})
			return node
		})
	}
}

// nodeArgs returns the arguments of the command line for the program on the page, with a proxy at addr.
func nodeArgs(t *testing.T, program, addr string) []string {
	t.Helper()
	section := map[string]string{"bitcoind": "Bitcoin Core"}[program]
	if section == "" {
		section = program
	}
	line, rest, _ := strings.Cut(codeOn(t, "inbound.md", section, program+" "), "\n")
	if rest != "" || !strings.Contains(line, proxyOnPage) || !strings.Contains(line, machineOnPage) {
		t.Fatalf("docs/inbound.md, section %q: unexpected command line %q", section, line)
	}
	return strings.Fields(strings.NewReplacer(proxyOnPage, addr, machineOnPage, machine).Replace(line))[1:]
}

// What the page has for a file are the flags of the command line.
func TestWholeNodeFiles(t *testing.T) {
	for _, c := range []struct{ section, program, begin, header, is string }{
		{"Bitcoin Core", "bitcoind", "proxy=", "", "="},
		{"btcd", "btcd", "[Application Options]", "[Application Options]\n", "="},
		{"bcoin", "bcoin", "plugins:", "", ": "},
	} {
		want := c.header
		for _, flag := range strings.Fields(codeOn(t, "inbound.md", c.section, c.program+" "))[1:] {
			name, value, found := strings.Cut(strings.TrimLeft(flag, "-"), "=")
			if !found {
				value = "1"
			}
			want += name + c.is + value + "\n"
		}
		if got := codeOn(t, "inbound.md", c.section, c.begin); got != want {
			t.Errorf("docs/inbound.md, section %q: the file has\n%s\nwant\n%s", c.section, got, want)
		}
	}
}

// followWholeNode runs the proxy, a node that startNode starts, and its peers. Blocks and a transaction pass the node in
// both directions, in v2.
func followWholeNode(t *testing.T, startNode func(proxy string) *node) {
	for _, line := range internet {
		command(t, "ip", strings.Fields(line)...)
	}
	wire := startCapture(t)
	w := newWallet(t, &chaincfg.RegressionNetParams)
	mines := "--miningaddr=" + w.address.EncodeAddress()
	mine := func(n *node) func(int) []string {
		return func(blocks int) []string { return ask[[]string](t, n, "generate", blocks) }
	}
	above := startBtcd(t, "above", w.params, "--listen="+aboveAddr, "--v2transport", traceSessions, mines,
		"--connect=127.0.0.1:9") // a port that nobody listens on: it connects to no address that it hears of
	above.mine = mine(above)
	above.mine(firstTip)

	line := codeOn(t, "inbound.md", "Whole nodes", "bip324-proxy ")
	p := startProxy(t, append(strings.Fields(strings.ReplaceAll(line, machineOnPage, machine))[1:], "--inbound-network", "regtest")...)
	catchUp(t, startNode(p.addr), above)
	below := startBtcd(t, "below", w.params, "--nolisten", "--connect="+machine+":8333", "--v2transport", traceSessions, mines)
	below.mine = mine(below)
	catchUp(t, below, above)
	followBlocks(t, below, above, 3)
	followBlocks(t, above, below, 3)
	followTransaction(t, below, above, w)

	for _, n := range []*node{above, below} {
		inbound := n == below
		opened := p.await(t, "session opened", func(e event) bool { return e.Msg == "session opened" && e.Inbound == inbound })
		if opened.Transport != "v2" || opened.Network != "regtest" {
			t.Errorf("the proxy logged %+v, want transport v2, network regtest", opened)
		}
		ids := regexp.MustCompile(`session_id=([0-9a-f]{64})`)
		n.awaitLine(t, "the session id "+opened.SessionID, func(line string) bool {
			id := ids.FindStringSubmatch(line)
			return id != nil && id[1] == opened.SessionID
		})
		if peer := n.onlyPeer(t); !peer.V2 || peer.Inbound == inbound {
			t.Errorf("the peer of %s is %+v, want v2", n.name, peer)
		}
		if peer := ask[[]struct{ Services string }](t, n, "getpeerinfo")[0]; !announcesV2(t, peer.Services) {
			t.Errorf("to %s the node has the services %s, want NODE_P2P_V2 among them", n.name, peer.Services)
		}
		if source, _, _ := net.SplitHostPort(opened.Source); inbound && !netip.MustParsePrefix("127.128.0.0/9").Contains(netip.MustParseAddr(source)) {
			t.Errorf("the node sees the peer at %s, want an address in 127.128.0.0/9", source)
		}
	}
	knock(t)
	above.kill()
	below.kill()
	requireEncrypted(t, wire, w.params)
}

// announcesV2 reports whether services, in decimal as btcd has them, include NODE_P2P_V2.
func announcesV2(t *testing.T, services string) bool {
	t.Helper()
	n, err := strconv.ParseUint(services, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n&(1<<11) != 0
}

// knock connects as a peer that speaks v1, which gets nothing.
func knock(t *testing.T) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(strangerIP)}, Timeout: patience}
	nc, err := d.Dial("tcp", machine+":8333")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	nc.Write(hostile.V1On(regtestMagic, "version", hostile.Version("/stranger:1/")))
	if got, err := io.ReadAll(nc); len(got) > 0 || os.IsTimeout(err) {
		t.Errorf("a peer that speaks v1 got %x (%v), want the end", got, err)
	}
}

// requireEncrypted checks that nothing readable was sent outside loopback, but by the stranger, and that the capture is
// complete enough to tell.
func requireEncrypted(t *testing.T, c *capture, params *chaincfg.Params) {
	t.Helper()
	sent := map[string]int{}
	for f, b := range c.streams() {
		if !f.outside() {
			sent["in plaintext, on loopback"] += len(readable(b))
			continue
		}
		sent[f.from.Addr().String()+" to "+f.to.Addr().String()] += len(b)
		if f.from.Addr() == netip.MustParseAddr(strangerIP) {
			continue
		}
		if bytes.HasPrefix(b, v1Header(params, "")[:4]) {
			t.Errorf("from %v to %v: begins with the magic", f.from, f.to)
		}
		if names := readable(b); names != nil {
			t.Errorf("from %v to %v: readable in %d bytes: %q", f.from, f.to, len(b), names)
		}
	}
	if len(c.other) > 0 {
		t.Errorf("packets other than TCP: %v", c.other)
	}
	t.Logf("bytes by direction: %v", sent)
	for _, want := range []string{"in plaintext, on loopback", belowIP + " to " + machine, machine + " to " + belowIP, machine + " to 5.5.5.5",
		"5.5.5.5 to " + machine, strangerIP + " to " + machine} {
		if sent[want] == 0 {
			t.Errorf("the capture has nothing that was sent %s: %v", want, sent)
		}
	}
	if n := sent[machine+" to "+strangerIP]; n > 0 {
		t.Errorf("the stranger got %d bytes", n)
	}
}
