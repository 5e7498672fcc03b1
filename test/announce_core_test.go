package test

import (
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// Bitcoin Core connects with v2 only to addresses that its address manager knows to speak it: this is what
// --announce-v2 is for. The node's public address belongs to nobody; a SOCKS proxy connects its peer to the program
// instead.
const publicIP, publicPort = "240.0.0.7", 18333

// coreServices are those of a Core that has all blocks, and nodeP2PV2 is what it has besides if it speaks v2.
const coreServices, nodeP2PV2 = 0x409, 0x800

// announcing is a Core that cannot speak v2, the program before it, and another Core that finds it by its public
// address.
type announcing struct {
	proxy    *inboundProxy
	peer     *node
	mu       sync.Mutex
	contacts []string // what each connection to the public address began with: "v1" or "v2"
}

func startAnnouncing(t *testing.T, flags ...string) *announcing {
	t.Helper()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	public := net.JoinHostPort(publicIP, strconv.Itoa(publicPort))
	addr := freeAddr(t)
	node := startBitcoind(t, "node", "-listen=1", "-bind="+addr, "-connect=0", "-v2transport=0", "-externalip="+public)
	ask[[]string](t, node, "generatetoaddress", 1, w.address.EncodeAddress()) // or it takes itself for out of date
	a := &announcing{proxy: startInbound(t, addr, flags...)}
	upstream, _ := startUpstream(t, "127.0.0.1:0", false, func(dest string) played {
		if dest != public {
			return nil
		}
		return a.play
	})
	a.peer = startBitcoind(t, "peer", "-listen=0", "-v2transport=1", "-proxy="+upstream)
	return a
}

// play connects the peer to the program, and notes what it speaks.
func (a *announcing) play(nc *net.TCPConn) {
	to, err := net.Dial("tcp", a.proxy.inbound)
	if err != nil {
		return
	}
	defer to.Close()
	var first [4]byte
	if _, err := io.ReadFull(nc, first[:]); err != nil {
		return
	}
	speaks := "v2"
	if [4]byte(first) == [4]byte{0xfa, 0xbf, 0xb5, 0xda} {
		speaks = "v1"
	}
	a.mu.Lock()
	a.contacts = append(a.contacts, speaks)
	a.mu.Unlock()
	to.Write(first[:])
	go func() {
		io.Copy(nc, to)
		nc.Close()
	}()
	io.Copy(to, nc)
}

// await waits for that many contacts, and checks what they were.
func (a *announcing) await(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	eventually(t, "contacts: "+strconv.Itoa(len(want)), func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		got = slices.Clone(a.contacts)
		return len(got) >= len(want)
	})
	if got = got[:len(want)]; !slices.Equal(got, want) {
		t.Errorf("the peer came in %v, want %v", got, want)
	}
}

// services waits until the peer is connected with the node, and returns what services it knows at the public address.
func (a *announcing) services(t *testing.T) (services uint64) {
	t.Helper()
	eventually(t, "the peer knows the node", func() bool {
		type entry struct {
			Address  string `json:"address"`
			Services uint64 `json:"services"`
		}
		for _, e := range ask[[]entry](t, a.peer, "getnodeaddresses", 0) {
			if e.Address == publicIP {
				services = e.Services
			}
		}
		return services&coreServices == coreServices // Core takes it for a node that has 0x9, until it hears more
	})
	return services
}

// know makes the peer know the public address, as it would from a node of before BIP324.
func (a *announcing) know(t *testing.T) {
	t.Helper()
	if added := ask[struct{ Success bool }](t, a.peer, "addpeeraddress", publicIP, publicPort); !added.Success {
		t.Fatal("the peer does not take the address")
	}
}

// reconnect ends the peer's connection, after which it makes another.
func (a *announcing) reconnect(t *testing.T) {
	t.Helper()
	ask[any](t, a.peer, "disconnectnode", net.JoinHostPort(publicIP, strconv.Itoa(publicPort)))
}

// Who comes in with v1 learns from VERSION to come back with v2.
func TestAnnounceToCoreThatComesInV1(t *testing.T) {
	a := startAnnouncing(t, "--inbound-v1", "always", "--announce-v2", net.JoinHostPort(publicIP, strconv.Itoa(publicPort)))
	a.know(t)
	a.await(t, "v1")
	if s := a.services(t); s != coreServices|nodeP2PV2 {
		t.Errorf("after v1 the peer knows services %#x, want %#x", s, coreServices|nodeP2PV2)
	}
	a.reconnect(t)
	a.await(t, "v1", "v2")
	opened := a.proxy.await(t, "a v2 session", func(e event) bool { return e.Msg == "session opened" && e.Transport == "v2" })
	if p := a.peer.onlyPeer(t); p.Transport != "v2" || p.SessionID != opened.SessionID {
		t.Errorf("the peer has %+v, want session %s", p, opened.SessionID)
	}
}

// Who hears of the address in ADDRV2 comes in with v2 at once.
func TestAnnounceToCoreByGossip(t *testing.T) {
	a := startAnnouncing(t, "--announce-v2", net.JoinHostPort(publicIP, strconv.Itoa(publicPort)))
	ask[any](t, a.peer, "addconnection", a.proxy.inbound, "outbound-full-relay", true)
	a.await(t, "v2")
	if s := a.services(t); s != coreServices|nodeP2PV2 {
		t.Errorf("the peer knows services %#x, want %#x", s, coreServices|nodeP2PV2)
	}
}

// Without --announce-v2 Core never comes in with v2.
func TestCoreWithoutAnnouncement(t *testing.T) {
	t.Run("v1 allowed", func(t *testing.T) {
		a := startAnnouncing(t, "--inbound-v1", "always")
		a.know(t)
		a.await(t, "v1")
		if s := a.services(t); s != coreServices {
			t.Errorf("the peer knows services %#x, want %#x", s, coreServices)
		}
		a.reconnect(t)
		a.await(t, "v1", "v1")
	})
	t.Run("v1 refused", func(t *testing.T) {
		a := startAnnouncing(t)
		a.know(t)
		a.await(t, "v1", "v1")
		for _, line := range a.proxy.out.all() {
			if strings.Contains(line, "session opened") {
				t.Errorf("the proxy logged %s", line)
			}
		}
	})
}

// A node's own address spreads from the peers that it connects to.
func TestAnnounceByCoreOutbound(t *testing.T) {
	_, peer := startCoreNode(t)
	public := net.JoinHostPort(publicIP, strconv.Itoa(publicPort))
	addr := freeAddr(t)
	proxy := startInbound(t, addr, "--announce-v2", public)
	startBitcoind(t, "node", slices.Concat(recipeArgs(t, "Bitcoin Core", "bitcoind", proxy.addr),
		[]string{"-listen=1", "-bind=" + addr, "-externalip=" + public, "-connect=localhost:" + port(t, peer.p2p)})...)
	a := &announcing{peer: peer}
	if s := a.services(t); s != coreServices|nodeP2PV2 {
		t.Errorf("the peer knows services %#x, want %#x", s, coreServices|nodeP2PV2)
	}
	if opened := proxy.opened(t); opened.Transport != "v2" {
		t.Errorf("the session is %+v", opened)
	}
	if seen := ask[[]struct{ Services string }](t, peer, "getpeerinfo"); len(seen) != 1 || seen[0].Services != "0000000000000c09" {
		t.Errorf("the peer is connected to %+v", seen)
	}
}
