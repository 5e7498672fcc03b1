package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// The wallet speaks v1 of a protocol version with BIP157 and without wtxidrelay.
const (
	protocolVersion = wire.FeeFilterVersion
	network         = wire.TestNet // regtest's, as btcd calls it
	// leastFee is that of transactions that noisy wallets want, in satoshi for 1,000 bytes: those that only make blocks
	// larger have less (coin.split), others more (coin.spend).
	leastFee = 10_000
)

// wallet is a scripted light client: one session. It speaks v1 with the proxy, follows the node's headers, asks for
// the filter of each new block and for some of the blocks, and sends transactions of its own.
type wallet struct {
	id     int
	client string  // inv, push or noisy
	share  float64 // noisy: of the announced transactions that it asks for
	conn   net.Conn
	agent  string // the node's

	writing sync.Mutex

	mu       sync.Mutex
	random   *rand.Rand
	heights  map[chainhash.Hash]uint32
	tip      chainhash.Hash
	heard    map[chainhash.Hash]time.Time // announcements of blocks
	unsent   map[chainhash.Hash]*wire.MsgTx
	asked    map[request]int // index of the action
	actions  []deed
	synced   chan struct{} // closed when it has the node's headers
	isSynced bool
	ended    time.Time     // when the connection ended, or zero
	err      error         // why
	done     chan struct{} // closed once the connection has ended
}

// deed is an Action by the clock.
type deed struct {
	kind      string
	size      int
	at, until time.Time
	tx        chainhash.Hash // of a transaction: the node's acceptance is joined later
}

// request is what the wallet waits for.
type request struct {
	kind string
	hash chainhash.Hash // of the block
}

// newWallet returns a wallet on a connection.
func newWallet(id int, client string, seed uint64, conn net.Conn) *wallet {
	genesis := *chaincfg.RegressionNetParams.GenesisHash
	return &wallet{id: id, client: client, conn: conn, random: rand.New(rand.NewPCG(seed, uint64(id))),
		heights: map[chainhash.Hash]uint32{genesis: 0}, tip: genesis,
		heard: map[chainhash.Hash]time.Time{}, unsent: map[chainhash.Hash]*wire.MsgTx{},
		asked: map[request]int{}, synced: make(chan struct{}), done: make(chan struct{})}
}

// userAgent returns what the wallet calls itself, by which the node's peers are told apart.
func userAgent(id int) string { return fmt.Sprintf("/wallet:%03d/", id) }

// write sends messages in one write, as programs do with those that they queue together.
func (w *wallet) write(messages ...wire.Message) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	out := bufio.NewWriterSize(w.conn, 64<<10)
	for _, m := range messages {
		if _, err := wire.WriteMessageWithEncodingN(out, m, protocolVersion, network, wire.LatestEncoding); err != nil {
			return err
		}
	}
	return out.Flush()
}

// run speaks with the node until the connection ends.
func (w *wallet) run() {
	err := w.greet()
	for err == nil {
		var m wire.Message
		_, m, _, err = wire.ReadMessageWithEncodingN(w.conn, protocolVersion, network, wire.LatestEncoding)
		if errors.Is(err, wire.ErrUnknownMessage) {
			err = nil
			continue
		}
		if err == nil {
			err = w.handle(m)
		}
	}
	w.conn.Close()
	w.mu.Lock()
	w.ended, w.err = time.Now(), err
	w.mu.Unlock()
	close(w.done)
}

// greet sends VERSION.
func (w *wallet) greet() error {
	none := wire.NewNetAddressIPPort(net.IPv4zero, 0, 0)
	version := wire.NewMsgVersion(none, none, w.number(), 0)
	version.ProtocolVersion = int32(protocolVersion)
	version.Services = wire.SFNodeWitness // or btcd reads no transaction with a witness
	version.UserAgent = userAgent(w.id)
	version.DisableRelayTx = w.client != "noisy"
	return w.write(version)
}

// handle does what the wallet does when it gets a message.
func (w *wallet) handle(m wire.Message) error {
	switch m := m.(type) {
	case *wire.MsgVersion:
		w.mu.Lock()
		w.agent = m.UserAgent
		w.mu.Unlock()
		return w.write(wire.NewMsgVerAck())
	case *wire.MsgVerAck:
		if w.client == "noisy" {
			if err := w.write(wire.NewMsgFeeFilter(leastFee)); err != nil {
				return err
			}
		}
		return w.write(wire.NewMsgSendHeaders(), w.getHeaders())
	case *wire.MsgPing:
		return w.write(wire.NewMsgPong(m.Nonce))
	case *wire.MsgPong:
		w.got("ping", chainhash.Hash{}, 0)
	case *wire.MsgHeaders:
		return w.handleHeaders(m)
	case *wire.MsgCFHeaders:
		w.mu.Lock()
		height := w.heights[m.StopHash]
		w.mu.Unlock()
		return w.write(wire.NewMsgGetCFilters(wire.GCSFilterRegular, height, &m.StopHash))
	case *wire.MsgCFilter:
		w.got("filters", m.BlockHash, len(m.Data))
		if w.chance(blockShare) {
			w.soon(func() error { return w.getBlock(m.BlockHash) })
		}
	case *wire.MsgBlock:
		w.got("block", m.BlockHash(), m.SerializeSize())
	case *wire.MsgInv:
		return w.handleInv(m)
	case *wire.MsgGetData:
		return w.handleGetData(m)
	}
	return nil
}

// handleHeaders follows the chain, and asks for the filter of a block that the node announces.
func (w *wallet) handleHeaders(m *wire.MsgHeaders) error {
	now := time.Now()
	w.got("headers", chainhash.Hash{}, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, header := range m.Headers {
		hash := header.BlockHash()
		height, known := w.heights[header.PrevBlock]
		if _, old := w.heights[hash]; old {
			continue
		}
		if !known {
			return fmt.Errorf("the header of block %s does not connect", hash)
		}
		w.heights[hash], w.tip = height+1, hash
		if !w.isSynced {
			continue
		}
		w.heard[hash] = now
		w.soonLocked(func() error {
			w.ask("filters", hash)
			return w.write(wire.NewMsgGetCFHeaders(wire.GCSFilterRegular, height+1, &hash))
		})
	}
	if !w.isSynced && len(m.Headers) < wire.MaxBlockHeadersPerMsg {
		w.isSynced = true
		close(w.synced)
	}
	return nil
}

// handleInv asks for a share of the announced transactions, as a client with several peers does.
func (w *wallet) handleInv(m *wire.MsgInv) error {
	wanted := wire.NewMsgGetData()
	for _, inv := range m.InvList {
		if inv.Type == wire.InvTypeTx && w.client == "noisy" && w.chance(w.share) {
			wanted.AddInvVect(wire.NewInvVect(wire.InvTypeWitnessTx, &inv.Hash))
		}
	}
	if len(wanted.InvList) == 0 {
		return nil
	}
	return w.write(wanted)
}

// handleGetData sends the transactions that the node asks for.
func (w *wallet) handleGetData(m *wire.MsgGetData) error {
	for _, inv := range m.InvList {
		w.mu.Lock()
		tx := w.unsent[inv.Hash]
		w.mu.Unlock()
		if tx == nil {
			continue
		}
		if err := w.write(tx); err != nil {
			return err
		}
	}
	return nil
}

// sendTx broadcasts a transaction: announced, and sent when the node asks, or sent without.
func (w *wallet) sendTx(tx *wire.MsgTx) error {
	id := tx.TxHash()
	w.mu.Lock()
	w.actions = append(w.actions, deed{kind: "tx", size: tx.SerializeSize(), at: time.Now(), tx: id})
	w.unsent[id] = tx
	w.mu.Unlock()
	if w.client == "push" {
		return w.write(tx)
	}
	inv := wire.NewMsgInv()
	inv.AddInvVect(wire.NewInvVect(wire.InvTypeTx, &id))
	return w.write(inv)
}

func (w *wallet) getHeaders() wire.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := wire.NewMsgGetHeaders()
	m.ProtocolVersion = protocolVersion
	m.AddBlockLocatorHash(&w.tip)
	return m
}

func (w *wallet) askHeaders() error {
	w.ask("headers", chainhash.Hash{})
	return w.write(w.getHeaders())
}

func (w *wallet) getBlock(hash chainhash.Hash) error {
	w.ask("block", hash)
	m := wire.NewMsgGetData()
	m.AddInvVect(wire.NewInvVect(wire.InvTypeWitnessBlock, &hash))
	return w.write(m)
}

func (w *wallet) ping() error {
	w.ask("ping", chainhash.Hash{})
	return w.write(wire.NewMsgPing(w.number()))
}

// ask notes that the wallet is about to ask for something.
func (w *wallet) ask(kind string, hash chainhash.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[request{kind, hash}] = len(w.actions)
	w.actions = append(w.actions, deed{kind: kind, at: time.Now()})
}

// got notes that the wallet has what it asked for.
func (w *wallet) got(kind string, hash chainhash.Hash, size int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := request{kind, hash}
	i, ok := w.asked[key]
	if !ok {
		return
	}
	delete(w.asked, key)
	w.actions[i].until, w.actions[i].size = time.Now(), size
}

// soon calls f after the time that a program needs to think.
func (w *wallet) soon(f func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.soonLocked(f)
}

func (w *wallet) soonLocked(f func() error) {
	time.AfterFunc(drawTime(w.random, 10*time.Millisecond, 60*time.Millisecond), func() {
		if f() != nil {
			w.conn.Close() // run sees it
		}
	})
}

// script does what the wallet does unasked until ctx ends, from the beginning of the recording on.
func (w *wallet) script(ctx context.Context, nextTx func(*rand.Rand) (*wire.MsgTx, error)) error {
	tx := time.NewTimer(w.wait(txEvery/8, txEvery))
	headers := time.NewTimer(w.wait(0, headersEvery))
	ping := time.NewTimer(w.wait(0, pingEvery))
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-tx.C:
			tx.Reset(w.wait(txEvery*2/5, txEvery*8/5))
			var next *wire.MsgTx
			w.mu.Lock()
			next, err = nextTx(w.random)
			w.mu.Unlock()
			if err != nil {
				return err
			}
			err = w.sendTx(next)
		case <-headers.C:
			headers.Reset(w.wait(headersEvery/2, headersEvery*3/2))
			err = w.askHeaders()
		case <-ping.C:
			ping.Reset(w.wait(pingEvery/2, pingEvery*3/2))
			err = w.ping()
		}
		if err != nil {
			return nil // the connection has ended, which is counted
		}
	}
}

func (w *wallet) wait(least, most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return drawTime(w.random, least, most)
}

func (w *wallet) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.Float64() < p
}

func (w *wallet) number() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.Uint64()
}

// drawTime draws a time.
func drawTime(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}
