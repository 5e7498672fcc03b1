package test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// Without arguments, setup finds the running programs, a proxy at its default addresses, and Tor.
func TestSetupFinds(t *testing.T) {
	if !namespace(t, syscall.CLONE_NEWPID) {
		return
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		notRun(t, "mounting /proc is not allowed here: %v", err)
	}
	t.Setenv("HOME", t.TempDir())
	requireSetup := func(code int, wants ...string) (text string) {
		t.Helper()
		got, text := runSetup(t, []string{"setup"})
		words := strings.Join(strings.Fields(text), " ")
		for _, want := range wants {
			if !strings.Contains(words, want) || got != code {
				t.Errorf("exit code %d, want %d and %q in\n%s", got, code, want, text)
			}
		}
		return text
	}
	requireSetup(1, "to do programs found no Bitcoin program", "127.0.0.1:1324: nothing is listening there")

	// The node has another name: it is not one of the programs to be found.
	btcd := filepath.Join(filepath.Dir(binaries.proxy), "btcd")
	binaries.btcd = filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(btcd, binaries.btcd); err != nil {
		t.Fatal(err)
	}
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	binaries.btcd = btcd

	file := filepath.Join(t.TempDir(), "btcd.conf")
	writeFile(t, file, "")
	startClient := func() *program {
		return startBtcd(t, "client", &chaincfg.RegressionNetParams, "--configfile="+file, "--connect="+node.p2p, "--nolisten").program
	}
	client := startClient()
	text := requireSetup(1, "to do btcd process", "on regtest: not configured", "Write at the end of "+file+": [Application Options]")
	applySetup(t, text, file)
	client.kill()
	startProxy(t, "--listen", "127.0.0.1:1324", "--status", "127.0.0.1:1325")
	startClient()
	eventuallySetUp(t, []string{"setup"})
	awaitV2Peer(t, node)

	tor, err := exec.LookPath("tor")
	if err != nil {
		notRun(t, "Tor is missing; apt-get install tor, or TOR=/path/to/tor runs them")
	}
	conf := filepath.Join(t.TempDir(), "torrc")
	writeFile(t, conf, "SocksPort 127.0.0.1:9999\nDataDirectory "+t.TempDir()+"\nUseBridges 1\nBridge 127.0.0.1:9\n")
	start(t, "tor", tor, "-f", conf).awaitLine(t, "SOCKS", func(line string) bool { return strings.Contains(line, "Opened Socks listener") })
	requireSetup(0, "note Tor its SOCKS port is 127.0.0.1:9999", "with --upstream socks5://127.0.0.1:9999")
}

// The file that setup names is where btcd looks, though setup's own home directory is another; on regtest btcd reads
// none at its usual place, and setup names flags.
func TestSetupBtcdHome(t *testing.T) {
	if !namespace(t, syscall.CLONE_NEWPID) {
		return
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		notRun(t, "mounting /proc is not allowed here: %v", err)
	}
	if err := syscall.Mount("tmpfs", "/root", "tmpfs", 0, ""); err != nil { // btcd may write there
		notRun(t, "mounting a file system is not allowed here: %v", err)
	}
	t.Setenv("HOME", t.TempDir())
	btcd := filepath.Join(filepath.Dir(binaries.proxy), "btcd")
	file := regexp.MustCompile(`(?m)^  (?:Create|Write at the end of) (/.*/btcd\.conf)(?: with)?:$`)
	mainnet := start(t, "btcd", btcd, "--nodnsseed", "--nolisten", "--norpc", "--connect=127.0.0.1:1")
	eventually(t, "setup names the file in the directory that btcd has made", func() bool {
		_, text := runSetup(t, []string{"setup"})
		m := file.FindStringSubmatch(text)
		if m == nil {
			return false
		}
		_, err := os.Stat(filepath.Join(filepath.Dir(m[1]), "data", "mainnet"))
		return err == nil
	})
	mainnet.kill()

	binaries.btcd = filepath.Join(t.TempDir(), "other") // the node is not one of the programs to be found
	if err := os.Symlink(btcd, binaries.btcd); err != nil {
		t.Fatal(err)
	}
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	startProxy(t, "--listen", "127.0.0.1:1324", "--status", "127.0.0.1:1325")
	flags := []string{"--regtest", "--norpc", "--nolisten", "--nodnsseed", "--connect=" + node.p2p}
	client := start(t, "client", btcd, flags...)
	var text string
	eventually(t, "setup names flags", func() bool {
		_, text = runSetup(t, []string{"setup"})
		return strings.Contains(text, "on regtest: not configured")
	})
	_, text, found := strings.Cut(text, "\n  Add to the command line:\n\n")
	lines, _, _ := strings.Cut(text, "\n\n")
	if !found {
		t.Fatal(text)
	}
	client.kill()
	start(t, "client", btcd, append(flags, strings.Fields(lines)...)...)
	eventuallySetUp(t, []string{"setup"})
	awaitV2Peer(t, node)
}

// A Core that listens by default still does with the lines that setup prints, and its outbound connections use the proxy.
// It listens on all addresses, so it has a network of its own.
func TestSetupCoreListens(t *testing.T) {
	if !namespace(t) {
		return
	}
	_, node := startCoreNode(t)
	proxy, args := startSetupProxy(t)
	const inbound = "127.0.0.1:18000"
	dir := coreDir(t, "[regtest]\nport=18000\naddnode=localhost:"+port(t, node.p2p)+"\n", "")
	file := filepath.Join(dir, "bitcoin.conf")
	args = append(args, file)
	_, text := runSetup(t, args) // before it runs: the tests' flags set natpmp and discover
	for _, want := range []string{"\n    proxy=" + proxy.addr + "\n", "\n    noonion=1\n", "\n    listen=1\n", "\n    discover=1\n", "\n    natpmp=1\n"} {
		if !strings.Contains(text, want) || strings.Contains(text, "\n    v2transport=0\n") {
			t.Errorf("want %q and no v2transport=0 in\n%s", want, text)
		}
	}
	applySetup(t, text, file)
	client := startBitcoind(t, "client", "-datadir="+dir)
	requireCoreProxy(t, client, proxy.addr, proxy.addr)
	text = eventuallySetUp(t, args)
	awaitV2Peer(t, node)
	conn, err := net.Dial("tcp", inbound)
	if err != nil {
		t.Fatalf("it does not listen: %v\n%s", err, text)
	}
	conn.Close()
}

// Where setup says that Core is configured, Core uses the proxy for every network; where it prints lines, Core does with
// these. Each file is one that Core reads otherwise than it looks.
func TestSetupCoreReads(t *testing.T) {
	if !namespace(t) {
		return
	}
	proxy, args := startSetupProxy(t)
	use := "proxy=" + proxy.addr + "\n"
	recipe := use + "noonion=1\nlisten=0\nv2transport=0\n"
	const other = "192.0.2.1:1080"
	counts := make(map[string]int)
	for _, conf := range []string{
		recipe,
		"\ufeff" + recipe,
		"regtest.proxy=" + proxy.addr + "=ipv4\n" + recipe,
		recipe + "proxy=" + other + "=IPv4\n",
		recipe + "Proxy=" + other + "\n",
		recipe + "[main]\nproxy=" + other + "\n",
		recipe + "[regtest]\nonion=" + other + "\n",
		use + "listen=1\n",
		use + "listen=0\nonion=" + other + "\n",
		"includeconf=more.conf\n" + recipe,
	} {
		dir := coreDir(t, conf, "")
		file := filepath.Join(dir, "bitcoin.conf")
		writeFile(t, filepath.Join(dir, "more.conf"), "noproxy=1\n")
		writeFile(t, file, "regtest=1\n"+conf)
		if strings.HasPrefix(conf, "\ufeff") {
			writeFile(t, file, conf+"regtest=1\n")
		}
		_, text := runSetup(t, append(args, file))
		says := regexp.MustCompile(`not configured|configured|prints no lines|byte order mark`).FindString(strings.Join(strings.Fields(text), " "))
		counts[says]++
		applySetup(t, text, file)
		core := startBitcoind(t, "client", "-datadir="+dir)
		bypass := ""
		for _, network := range coreNetwork(t, core).Networks {
			if network.Reachable && network.Proxy != proxy.addr || network.Name == "onion" && network.Proxy != "" && network.Proxy != proxy.addr {
				bypass = network.Name
			}
		}
		if bypass != "" && says != "prints no lines" && says != "byte order mark" {
			t.Errorf("%q: %s bypasses the proxy, but setup says %q:\n%s", conf, bypass, says, text)
		}
		core.kill()
	}
	if counts["configured"] < 2 || counts["not configured"] == 0 || counts["prints no lines"] < 4 {
		t.Errorf("setup says %v", counts)
	}
}
