package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/test/hostile"
)

// A btcd bans one peer. All others get sessions, since the node sees each from another address; without the source addresses
// none does.
func TestInboundBansBtcd(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	mempool := hostile.V2("mempool", nil) // each adds 33 to the score, which may be 100
	banOne(t, "regtest", regtestMagic, "btcd", func(t *testing.T) string {
		return startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams)).p2p
	}, mempool, mempool, mempool, mempool)
}

// The same with bcoin.
func TestInboundBansBcoin(t *testing.T) {
	t.Parallel()
	dir := installBcoin(t)
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	banOne(t, "regtest", regtestMagic, "bcoin", func(t *testing.T) string {
		node := start(t, "bcoin", "env", "NODE_BACKEND=js", "BCOIN_NO_NATIVE=1", "node", filepath.Join(dir, "node_modules", "bcoin", "bin", "node"),
			"--network=regtest", "--memory=true", "--prefix="+t.TempDir(), "--no-wallet", "--http-port=8332", "--api-key="+rpcPassword,
			"--listen=true", "--host=127.0.0.1", "--port=8334", "--max-inbound=60")
		node.awaitLine(t, "it listens", func(line string) bool {
			return strings.Contains(line, "Pool server listening on 127.0.0.1 (port=8334)")
		})
		return "127.0.0.1:8334"
	}, hostile.V2("filteradd", append([]byte{0xfd, 700 & 0xff, 700 >> 8}, make([]byte, 700)...)))
}

// The same with gocoin, which cannot be installed as a module.
func TestInboundBansGocoin(t *testing.T) {
	program := os.Getenv("GOCOIN")
	if program == "" {
		notRun(t, "gocoin is missing; GOCOIN=/path/to/client, built by go build ./client, runs it")
	}
	t.Parallel()
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	testnet4 := [4]byte{0x1c, 0x16, 0x3f, 0x28}
	banOne(t, "testnet4", testnet4, "gocoin", func(t *testing.T) string {
		const addr = "127.0.0.1:8334"
		dir := t.TempDir()
		config := filepath.Join(dir, "gocoin.conf")
		writeFile(t, config, `{"Net": {"ListenTCP": true, "BindToIF": "127.0.0.1", "TCPPort": 8334, "MaxInCons": 40, "MaxOutCons": 0}}`)
		start(t, "gocoin", program, "-cfg", config, "-d", dir, "-t", "-textui=false", "-nowallet")
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			nc, err := net.Dial("tcp", addr)
			if err == nil {
				nc.Close()
				return addr
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}, hostile.V2("getblocktxn", make([]byte, 4)))
}

// Bitcoin Core disconnects a peer that comes from loopback, and bans none: it needs no source addresses, and they do no
// harm.
func TestInboundBansCore(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	misbehave(t, "regtest", regtestMagic, "Bitcoin Core", map[string]int{"auto": others, "none": others}, func(t *testing.T) string {
		addr := freeAddr(t)
		startBitcoind(t, "node", "-v2transport=0", "-bind="+addr)
		return addr
	}, hostile.V2("headers", []byte{0xfd, 2001 & 0xff, 2001 >> 8})) // one more than there may be
}

const others = 20

// banOne has a node ban a peer for its offence, and counts which of 20 others get sessions then.
func banOne(t *testing.T, network string, magic [4]byte, name string, startNode func(*testing.T) string, offence ...[]byte) {
	misbehave(t, network, magic, name, map[string]int{"auto": others, "none": 0}, startNode, offence...)
}

// misbehave has a node disconnect a peer for its offence, and counts which of 20 others get sessions then; wants has how many
// for each source. The node bans peers if it is none for one of them.
func misbehave(t *testing.T, network string, magic [4]byte, name string, wants map[string]int, startNode func(*testing.T) string, offence ...[]byte) {
	for source, want := range wants {
		t.Run(source, func(t *testing.T) {
			p := startPublic(t, network, startNode(t), "--inbound-source", source)
			bad, err := joinNodeOn(magic, "66.66.66.66", p.inbound)
			if err != nil {
				t.Fatal(err)
			}
			for _, message := range offence {
				bad.Send(message)
			}
			if !bad.isCut() {
				t.Fatalf("%s does not disconnect the peer", name)
			}
			var in []*inboundPeer
			for i := range others {
				if g, err := joinNodeOn(magic, fmt.Sprintf("64.%d.1.1", i), p.inbound); err == nil {
					in = append(in, g)
				}
			}
			stay := 0
			for _, g := range in {
				switch {
				case want == 0 && !g.isCut(), want > 0 && g.answers() && g.answers():
					stay++
				}
			}
			if stay != want {
				t.Errorf("%d of %d other peers have sessions, want %d", stay, others, want)
			}
			if again, err := joinNodeOn(magic, "66.66.66.66", p.inbound); wants["none"] == 0 && err == nil && !again.isCut() {
				t.Errorf("the peer that %s bans has a session again", name)
			}
			t.Logf("%s with --inbound-source %s: %d of %d other peers have sessions", name, source, stay, others)
		})
	}
}
