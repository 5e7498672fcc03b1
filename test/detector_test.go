package test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// messageNames lists the message types that a v1 connection reveals to every observer.
func messageNames() []string {
	return []string{
		wire.CmdVersion, wire.CmdVerAck, wire.CmdGetAddr, wire.CmdAddr, wire.CmdAddrV2, wire.CmdGetBlocks, wire.CmdInv,
		wire.CmdGetData, wire.CmdNotFound, wire.CmdBlock, wire.CmdTx, wire.CmdGetHeaders, wire.CmdHeaders, wire.CmdPing,
		wire.CmdPong, wire.CmdMemPool, wire.CmdFilterAdd, wire.CmdFilterClear, wire.CmdFilterLoad, wire.CmdMerkleBlock,
		wire.CmdReject, wire.CmdSendHeaders, wire.CmdFeeFilter, wire.CmdGetCFilters, wire.CmdGetCFHeaders,
		wire.CmdGetCFCheckpt, wire.CmdCFilter, wire.CmdCFHeaders, wire.CmdCFCheckpt, wire.CmdSendAddrV2,
		wire.CmdWTxIdRelay, "sendcmpct", "cmpctblock", "getblocktxn", "blocktxn", "sendtxrcncl", "feature",
	}
}

// onWire returns a message name as a v1 header, or a v2 packet with a long name before encryption, carries it: 12
// bytes, zero-padded.
func onWire(name string) []byte {
	return append([]byte(name), make([]byte, 12-len(name))...)
}

// v1Header returns the first bytes of a v1 message: the network's magic, then the name.
func v1Header(params *chaincfg.Params, name string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(params.Net)), onWire(name)...)
}

// readable lists the message names that b reveals, at any offset. All 12 bytes must match, not just the letters: random
// bytes spell "tx" once in every 64 KiB, but 12 given bytes with probability 2^-96 per offset. So a false positive
// among these 37 names in a megabyte of ciphertext occurs once in 2^70 runs.
func readable(b []byte) []string {
	var found []string
	for _, name := range messageNames() {
		if bytes.Contains(b, onWire(name)) {
			found = append(found, name)
		}
	}
	return found
}

// requireUnreadable checks that a recorded connection does not begin with the network's magic and reveals no message
// name in either direction. By chance it begins with the magic once in 2^32 runs.
func requireUnreadable(t *testing.T, r *recording, params *chaincfg.Params) {
	t.Helper()
	toNode, fromNode := r.bytes()
	for direction, b := range map[string][]byte{"to the node": toNode, "from the node": fromNode} {
		if bytes.HasPrefix(b, v1Header(params, "")[:4]) {
			t.Errorf("%s: the connection begins with the magic of %s", direction, params.Name)
		}
		if names := readable(b); names != nil {
			t.Errorf("%s: readable in %d bytes: %q", direction, len(b), names)
		}
	}
}

// The detector finds message names on a plain v1 connection, recorded the same way without the proxy. Otherwise its
// silence would prove nothing.
func TestTheDetectorReadsPlainV1(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startBtcdNode(t, w)
	node.mine(110)
	observer := startRecorder(t, node.p2p)
	client := startBtcd(t, "client", w.params, "--nolisten", "--connect="+observer.addr)
	catchUp(t, client, node)
	followBlocks(t, client, node, 2)
	followTransaction(t, client, node, w)

	toNode, fromNode := observer.connections()[0].bytes()
	for _, c := range []struct {
		direction string
		bytes     []byte
		names     []string
	}{
		{"to the node", toNode, []string{"version", "verack", "getheaders", "getdata"}},
		{"from the node", fromNode, []string{"version", "verack", "headers", "inv", "block", "tx"}},
	} {
		if !bytes.HasPrefix(c.bytes, v1Header(w.params, "version")) {
			t.Errorf("%s: does not begin with a v1 version message: % x", c.direction, c.bytes[:min(24, len(c.bytes))])
		}
		found := readable(c.bytes)
		t.Logf("%s: %d bytes, %q", c.direction, len(c.bytes), found)
		for _, name := range c.names {
			if !slices.Contains(found, name) {
				t.Errorf("%s: no %q found", c.direction, name)
			}
		}
	}
}
