package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/test/rpc"
)

// rpcUser is the name and the password of the node's RPC.
const rpcUser = "shape"

// fullNode is the one node of all sessions: Bitcoin Core where the environment has BITCOIND, else btcd.
type fullNode struct {
	*program
	core bool
	rpc  string // URL
	addr string // where peers connect

	miner string // address that blocks are mined to
}

// startNode runs a node that takes peers of v2, has filters, and makes no connections.
func startNode(ctx context.Context, dir, logs string, peers int) (*fullNode, error) {
	n := &fullNode{core: os.Getenv("BITCOIND") != ""}
	rpc, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if n.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if n.miner, err = minerAddress(); err != nil {
		return nil, err
	}
	n.rpc = "http://" + rpc
	launch := n.startBtcd
	if n.core {
		launch = n.startCore
	}
	if n.program, err = launch(ctx, dir, logs, rpc, peers); err != nil {
		return nil, err
	}
	if err := n.await(ctx, func() bool {
		var height int
		return n.call(ctx, &height, "getblockcount") == nil
	}); err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

func (n *fullNode) startCore(_ context.Context, dir, logs, rpc string, peers int) (*program, error) {
	_, port, err := net.SplitHostPort(rpc)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "core-data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	return start(dir, logs, "bitcoind", os.Getenv("BITCOIND"), "-regtest", "-datadir="+data, "-printtoconsole=1", "-nodebuglogfile",
		"-server=1", "-rpcport="+port, "-rpcuser="+rpcUser, "-rpcpassword="+rpcUser, "-rpcthreads=4",
		"-natpmp=0", "-discover=0", "-dnsseed=0", "-fixedseeds=0", "-listenonion=0", "-connect=0",
		"-listen=1", "-bind="+n.addr, "-v2transport=1", fmt.Sprintf("-maxconnections=%d", peers+50),
		"-blockfilterindex=1", "-peerblockfilters=1", "-datacarriersize=100000")
}

func (n *fullNode) startBtcd(ctx context.Context, dir, logs, rpc string, peers int) (*program, error) {
	path, err := build(ctx, dir, "btcd-program", "github.com/btcsuite/btcd")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "btcd-data")
	config := filepath.Join(dir, "empty.conf")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return nil, err
	}
	return start(dir, logs, "btcd", path, "--regtest", "--configfile="+config, "--datadir="+data, "--logdir="+data,
		"--notls", "--rpcuser="+rpcUser, "--rpcpass="+rpcUser, "--rpclisten="+rpc, "--nodnsseed",
		"--listen="+n.addr, "--v2transport", fmt.Sprintf("--maxpeers=%d", peers+50), "--rpcmaxclients=50",
		"--miningaddr="+n.miner)
}

// call makes a JSON-RPC call and decodes the answer into result.
func (n *fullNode) call(ctx context.Context, result any, method string, params ...any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return rpc.Node{URL: n.rpc, User: rpcUser, Password: rpcUser}.Call(ctx, result, method, params...)
}

// mine mines blocks of what is in the mempool and returns their hashes.
func (n *fullNode) mine(ctx context.Context, count int) (hashes []string, err error) {
	if n.core {
		return hashes, n.call(ctx, &hashes, "generatetoaddress", count, n.miner)
	}
	return hashes, n.call(ctx, &hashes, "generate", count)
}

// send gives the node a transaction.
func (n *fullNode) send(ctx context.Context, tx *wire.MsgTx) error {
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		return err
	}
	var id string
	return n.call(ctx, &id, "sendrawtransaction", hex.EncodeToString(raw.Bytes()))
}

// block returns a block.
func (n *fullNode) block(ctx context.Context, hash string) (*wire.MsgBlock, error) {
	var text string
	if err := n.call(ctx, &text, "getblock", hash, 0); err != nil {
		return nil, err
	}
	block := &wire.MsgBlock{}
	return block, block.Deserialize(hex.NewDecoder(bytes.NewReader([]byte(text))))
}

// mempool returns the ids of the transactions that the node has accepted and not mined.
func (n *fullNode) mempool(ctx context.Context) (ids []string, err error) {
	return ids, n.call(ctx, &ids, "getrawmempool", false)
}

// peerPing is what the node knows about the round trip to a peer.
type peerPing struct{ last, least time.Duration }

// pings returns the pings of the node's peers by their user agents.
func (n *fullNode) pings(ctx context.Context) (map[string]peerPing, error) {
	var peers []struct {
		SubVer   string  `json:"subver"`
		PingTime float64 `json:"pingtime"`
		MinPing  float64 `json:"minping"`
	}
	if err := n.call(ctx, &peers, "getpeerinfo"); err != nil {
		return nil, err
	}
	pings := map[string]peerPing{}
	for _, p := range peers {
		unit := time.Second
		if !n.core { // btcd counts microseconds, and keeps only the last
			unit, p.MinPing = time.Microsecond, p.PingTime
		}
		pings[p.SubVer] = peerPing{last: time.Duration(p.PingTime * float64(unit)), least: time.Duration(p.MinPing * float64(unit))}
	}
	return pings, nil
}
