package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Core gets its proxy for onion peers from Tor's control port if it listens and no other is configured, as
// docs/clients.md says.
func TestCoreTorControl(t *testing.T) {
	const listen, direct = "listen=1\n", "127.0.0.1:9050" // Tor itself, on the page
	proxy := "proxy=" + proxyOnPage + "\n"
	for _, c := range []struct {
		name, conf string
		want       string // the proxy for onion peers, unless the one that Tor's control port names
		fromTor    bool
	}{
		{name: "proxy", conf: proxy, want: proxyOnPage},
		{name: "proxy and listen", conf: proxy + listen, fromTor: true},
		{name: "through the proxy", conf: recipe(t, "Bitcoin Core", "listen="), want: proxyOnPage},
		{name: "beside the proxy", conf: recipe(t, "Bitcoin Core", "onion="), want: direct},
		{name: "beside the proxy, and listen", conf: recipe(t, "Bitcoin Core", "onion=") + listen, want: direct},
		{name: "noonion and listen", conf: proxy + listen + "noonion=1\n", want: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			listens := strings.Contains(c.conf, listen)
			conf := strings.Replace(c.conf, "bind=127.0.0.1\n", "", 1)
			if listens {
				conf += "[regtest]\nbind=" + freeAddr(t) + "\n"
			}
			tor := startLonelyTor(t)
			client := startBitcoind(t, "client", "-datadir="+coreDir(t, conf, ""), "-connect=0",
				"-torcontrol="+torListeners(tor, "Control")[0])
			if listens {
				client.awaitLine(t, "it has an onion service", func(line string) bool { return strings.Contains(line, "Got tor service ID") })
			}
			if c.fromTor {
				c.want = torListeners(tor, "Socks")[0]
			}
			for _, network := range coreNetwork(t, client).Networks {
				if network.Name == "onion" && (network.Proxy != c.want || network.Reachable != (c.want != "")) {
					t.Errorf("for onion peers Core has %+v, want the proxy %q", network, c.want)
				}
			}
			asked := slices.ContainsFunc(tor.out.all(), func(line string) bool { return strings.Contains(line, "New control connection") })
			if asked != listens {
				t.Errorf("Core used Tor's control port: %t, want %t", asked, listens)
			}
		})
	}
}

// startLonelyTor runs a Tor that listens, but whose only directory is a closed port of this machine.
func startLonelyTor(t *testing.T) *program {
	t.Helper()
	path, _ := findTor(t)
	dir := t.TempDir()
	torrc := filepath.Join(dir, "torrc")
	writeFile(t, torrc, "DataDirectory "+filepath.Join(dir, "data")+"\nSocksPort 127.0.0.1:auto\nControlPort 127.0.0.1:auto\n"+
		"Log notice stdout\nUseDefaultFallbackDirs 0\nDirAuthority none orport=1 v3ident="+strings.Repeat("f", 40)+
		" 127.0.0.1:1 "+strings.Repeat("f", 40)+"\n")
	writeFile(t, filepath.Join(dir, "defaults"), "") // replaces the system's
	p := start(t, "tor", path, "-f", torrc, "--defaults-torrc", filepath.Join(dir, "defaults"))
	p.awaitLine(t, "Bootstrapped 0%", func(line string) bool { return strings.Contains(line, "Bootstrapped 0%") })
	return p
}

// Core reaches I2P peers through the I2P router, bypassing the proxy, and encrypts these connections itself: the
// settings for clearnet peers must not turn that off.
func TestCoreI2P(t *testing.T) {
	for _, c := range []struct{ name, flag, want string }{
		{"v2", "-v2transport=1", "v2"},
		{"v1", "-v2transport=0", "v1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, node := startCoreNode(t)
			proxy := startProxy(t)
			router := startI2PRouter(t, node.p2p)
			conf := recipeAt(t, "Bitcoin Core", "i2psam=", proxy.addr)
			conf = strings.Replace(conf, "127.0.0.1:7656", router, 1)
			client := startBitcoind(t, "client", "-datadir="+coreDir(t, conf, ""), "-connect="+i2pPeer, c.flag)
			catchUp(t, client, node)
			if p := node.onlyPeer(t); p.Transport != c.want {
				t.Errorf("to the node Core is %+v, want transport %s", p, c.want)
			}
			requireNoSession(t, proxy)
		})
	}
}

// Core reaches CJDNS peers through the proxy.
func TestCoreCJDNS(t *testing.T) {
	proxy := startProxy(t, "--deny", "*") // nothing leaves this machine
	client := startBitcoind(t, "client", "-datadir="+coreDir(t, recipeAt(t, "Bitcoin Core", "cjdnsreachable=", proxy.addr), ""),
		"-connect=[fc00:1::7]:8333")
	refused := proxy.await(t, "session refused", func(e event) bool { return e.Msg == "session refused" })
	if refused.Dest != "[fc00:1::7]:8333" {
		t.Errorf("the proxy logged %+v, want dest [fc00:1::7]:8333", refused)
	}
	for _, network := range coreNetwork(t, client).Networks {
		if network.Name == "cjdns" && (network.Proxy != proxy.addr || !network.Reachable) {
			t.Errorf("for CJDNS peers Core has %+v, want the proxy %s", network, proxy.addr)
		}
	}
}

func requireNoSession(t *testing.T, proxy *proxy) {
	t.Helper()
	for _, line := range proxy.out.all() {
		if strings.Contains(line, `"session `) {
			t.Errorf("the proxy logged a session: %s", line)
		}
	}
}

const i2pPeer = "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p:0"

// startI2PRouter answers SAM requests (I2P's protocol for clients, version 3.1) and connects all streams to target. It
// returns its address.
func startI2PRouter(t *testing.T, target string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	own := func(conn net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, conn)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			own(conn)
			serving.Go(func() {
				defer conn.Close()
				requests := bufio.NewReader(conn)
				for answerSAM(conn, requests) {
				}
				to, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				own(to)
				serving.Go(func() { io.Copy(conn, to) })
				io.Copy(to, requests)
				to.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return l.Addr().String()
}

// answerSAM answers one request and reports whether more may follow: after STREAM CONNECT the peer's bytes do.
func answerSAM(conn io.Writer, requests *bufio.Reader) bool {
	request, err := requests.ReadString('\n')
	if err != nil {
		return false
	}
	destination := strings.Repeat("A", 516) // base64 of a key and a certificate of length 0
	for _, a := range []struct{ request, answer string }{
		{"HELLO VERSION ", "HELLO REPLY RESULT=OK VERSION=3.1"},
		{"SESSION CREATE ", "SESSION STATUS RESULT=OK DESTINATION=" + destination},
		{"NAMING LOOKUP ", "NAMING REPLY RESULT=OK NAME=peer VALUE=" + destination},
		{"STREAM CONNECT ", "STREAM STATUS RESULT=OK"},
	} {
		if strings.HasPrefix(request, a.request) {
			fmt.Fprintln(conn, a.answer)
			return !strings.HasPrefix(request, "STREAM")
		}
	}
	return false
}
