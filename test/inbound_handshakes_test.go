package test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/btcsuite/btcd/v2transport"
	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/test/hostile"
)

// Other implementations of BIP324 connect to --inbound, one peer after the other. Each sends a VERSION, and sends back
// what it gets from the node behind.

// inboundPace is the time between peers: the proxy accepts at most 100 a second.
const inboundPace = 12 * time.Millisecond

// initiatorVersion is the payload of their VERSION.
var initiatorVersion = hostile.Version("/initiator:1/")

// echoed are the node's messages: with a short name in v2 and with a long one, without a payload, and with more than fits
// into a buffer.
func echoed() []message {
	return []message{{"ping", randomPayload(1, 8)}, {"mempool", nil}, {"tx", randomPayload(2, 300)}, {"block", randomPayload(3, 70_000)},
		{"future", randomPayload(4, 13)}}
}

// btcd's transport package.
func TestInboundHandshakesFromBtcd(t *testing.T) {
	t.Parallel()
	n := handshakes()
	takeIn(t, n, func(t *testing.T, inbound string) {
		go func() {
			largest := 0 // garbage of ours, which btcd wrongly refuses
			for i := range n {
				for {
					own, err := initiateBtcd(inbound, i*4095/(n-1), make([]int, i%3))
					if !own {
						if err != nil {
							t.Errorf("handshake %d: %v", i, err)
							return
						}
						break
					}
					if largest++; largest > 10 {
						t.Errorf("handshake %d: btcd refuses the proxy's garbage again and again: %v", i, err)
						return
					}
				}
			}
		}()
	})
}

// initiateBtcd plays one peer. The fault is btcd's own if the proxy's garbage had 4095 bytes.
func initiateBtcd(inbound string, garbage int, decoys []int) (own bool, err error) {
	nc, err := net.Dial("tcp", inbound)
	if err != nil {
		return false, err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	c := &countingReader{TCPConn: nc.(*net.TCPConn)}
	p := v2transport.NewPeer()
	p.UseReadWriter(c)
	err = p.InitiateV2Handshake(garbage)
	if err == nil {
		err = p.CompleteHandshake(true, decoys, mainnetBtcd)
	}
	if err != nil {
		return c.n == 64+16+4095, err
	}
	_, _, err = p.V2EncPacket(hostile.V2("version", initiatorVersion), nil, false)
	for range echoed() {
		if err != nil {
			break
		}
		var contents []byte
		if contents, err = p.V2ReceivePacket(nil); err == nil {
			_, _, err = p.V2EncPacket(contents, nil, false)
		}
	}
	if err != nil {
		return false, err
	}
	if _, err := p.V2ReceivePacket(nil); err == nil {
		return false, errors.New("one more packet")
	}
	return false, nil
}

// The bip324 crate, used by kyoto and Floresta.
func TestInboundHandshakesFromRust(t *testing.T) {
	t.Parallel()
	n := handshakes()
	var rust *program
	takeIn(t, n, func(t *testing.T, inbound string) {
		rust = startRustPeer(t, strconv.Itoa(n), strconv.Itoa(len(echoed())), inbound,
			hex.EncodeToString(hostile.V2("version", initiatorVersion)))
	})
	rust.awaitEnd(t)
}

// The TypeScript library bip324, which is in no registry.
func TestInboundHandshakesFromTypeScript(t *testing.T) {
	t.Parallel()
	toolchain(t, "node", "npm")
	source := os.Getenv("BIP324_TS")
	if source == "" {
		notRun(t, "the TypeScript library bip324 is missing; BIP324_TS=/path/to/its/repository runs it")
	}
	library := make(fstest.MapFS)
	err := fs.WalkDir(os.DirFS(source), "src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(source, path))
		library[path] = &fstest.MapFile{Data: text, Mode: 0o644}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := cachedWith(t, "bip324ts", library, func(dir string) error {
		return install(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") // runs no package scripts
	})
	n := handshakes()
	var peers *program
	takeIn(t, n, func(t *testing.T, inbound string) {
		host, port, _ := net.SplitHostPort(inbound)
		peers = startIn(t, dir, "bip324ts", "node", "--import", "tsx", "initiator.ts", strconv.Itoa(n), strconv.Itoa(len(echoed())),
			host, port, hex.EncodeToString(hostile.V2("version", initiatorVersion)))
	})
	peers.awaitEnd(t)
}

// takeIn runs the proxy in front of a node, and has n peers come in that initiate starts.
func takeIn(t *testing.T, n int, initiate func(t *testing.T, inbound string)) {
	t.Helper()
	node := listenNode(t)
	p := startProxy(t, "--inbound", "127.0.0.1:0="+node.Addr().String(), "--inbound-network", "mainnet", "--log-level", "debug")
	inbound := p.await(t, "listening for peers", func(e event) bool { return e.Msg == "listening" && e.Inbound }).Addr
	initiate(t, inbound)
	pace := time.NewTicker(inboundPace)
	defer pace.Stop()
	for i := range n {
		nc := node.accept(t)
		err := takesBack(nc)
		<-pace.C
		nc.Close()
		if err != nil {
			t.Fatalf("peer %d: %v", i, err)
		}
	}
	requireAllOpened(t, p, n)
}

// takesBack plays the node for one peer.
func takesBack(nc net.Conn) error {
	name, payload, err := hostile.ReadV1(nc)
	if err != nil || name != "version" || !bytes.Equal(payload, initiatorVersion) {
		return fmt.Errorf("got %q of %d bytes, want the peer's VERSION (%w)", name, len(payload), err)
	}
	for _, m := range echoed() {
		if _, err := nc.Write(hostile.V1(m.name, m.payload)); err != nil {
			return err
		}
		if name, payload, err := hostile.ReadV1(nc); err != nil || name != m.name || !bytes.Equal(payload, m.payload) {
			return fmt.Errorf("sent %v, got back %q of %d bytes (%w)", m, name, len(payload), err)
		}
	}
	return nil
}

// requireAllOpened checks that the proxy opened n sessions, all in v2.
func requireAllOpened(t *testing.T, p *proxy, n int) {
	t.Helper()
	ids := map[string]bool{}
	eventually(t, fmt.Sprintf("%d sessions are opened", n), func() bool {
		return p.out.count(`"session opened"`) >= n
	})
	p.await(t, "all sessions", func(e event) bool {
		if e.Msg == "session opened" && e.Inbound && e.Transport == "v2" && len(e.SessionID) == 64 {
			ids[e.SessionID] = true
		}
		return len(ids) == n
	})
	t.Logf("%d handshakes", n)
}

// testNode is a node's listener.
type testNode struct{ *net.TCPListener }

func listenNode(t *testing.T) testNode {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return testNode{l}
}

func (n testNode) accept(t *testing.T) net.Conn {
	t.Helper()
	n.SetDeadline(time.Now().Add(patience))
	nc, err := n.Accept()
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	return nc
}

// Core connects by itself, and shows the session id that the proxy logs.
func TestInboundHandshakesFromCore(t *testing.T) {
	t.Parallel()
	n := handshakes()
	core := startBitcoind(t, "initiator", "-listen=0", "-connect=0", "-v2transport=1")
	node := listenNode(t)
	p := startInbound(t, node.Addr().String(), "--log-level", "debug")
	pace := time.NewTicker(inboundPace)
	defer pace.Stop()
	for i := range n {
		eventually(t, "Core's connection has ended", func() bool { return len(ask[[]peer](t, core, "getpeerinfo")) == 0 })
		ask[any](t, core, "addnode", p.inbound, "onetry")
		nc := node.accept(t)
		if err := meetCore(nc); err != nil {
			t.Fatalf("handshake %d: %v", i, err)
		}
		if i%10 == 0 {
			seen := core.onlyPeer(t)
			if seen.Transport != "v2" || len(seen.SessionID) != 64 {
				t.Errorf("handshake %d: to Core the node is %+v, want v2", i, seen)
			}
			p.await(t, "a session with Core's id", func(e event) bool { return e.Msg == "session opened" && e.SessionID == seen.SessionID })
		}
		<-pace.C
		nc.Close()
	}
	requireAllOpened(t, p.proxy, n)
}

// meetCore plays a node until the peer's VERACK.
func meetCore(nc net.Conn) error {
	for {
		m, _, err := wire.ReadMessage(nc, wire.ProtocolVersion, wire.TestNet)
		if errors.Is(err, wire.ErrUnknownMessage) {
			continue
		}
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *wire.MsgVersion:
			if !strings.HasPrefix(m.UserAgent, "/Satoshi:") {
				return fmt.Errorf("the peer calls itself %s", m.UserAgent)
			}
			version := wire.NewMsgVersion(noAddr, noAddr, 324, 0)
			version.Services = wire.SFNodeNetwork | wire.SFNodeWitness
			for _, answer := range []wire.Message{version, wire.NewMsgVerAck()} {
				if err := wire.WriteMessage(nc, answer, wire.ProtocolVersion, wire.TestNet); err != nil {
					return err
				}
			}
		case *wire.MsgVerAck:
			return nil
		}
	}
}
