package main

import (
	"bytes"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// peer is the node of a test.
type peer struct {
	t    *testing.T
	conn net.Conn
}

// startWallet runs a wallet that has sent VERSION, and has the headers of one block.
func startWallet(t *testing.T, client string) (*wallet, *peer, chainhash.Hash) {
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	w, p := newWallet(7, client, 1, near), &peer{t, far}
	w.share = 1
	go w.run()
	if version := get[*wire.MsgVersion](p); version.UserAgent != "/wallet:007/" || version.DisableRelayTx != (client != "noisy") {
		t.Errorf("VERSION is %+v", version)
	}
	p.send(&wire.MsgVersion{UserAgent: "/node/"})
	get[*wire.MsgVerAck](p)
	p.send(&wire.MsgVerAck{})
	if client == "noisy" {
		if got := get[*wire.MsgFeeFilter](p); got.MinFee != leastFee {
			t.Errorf("the wallet wants transactions from %d satoshi on; must be %d", got.MinFee, leastFee)
		}
	}
	get[*wire.MsgSendHeaders](p)
	get[*wire.MsgGetHeaders](p)
	first := blockAfter(*chaincfg.RegressionNetParams.GenesisHash)
	p.send(&wire.MsgHeaders{Headers: []*wire.BlockHeader{first}})
	<-w.synced
	return w, p, first.BlockHash()
}

func blockAfter(previous chainhash.Hash) *wire.BlockHeader {
	return wire.NewBlockHeader(1, &previous, &chainhash.Hash{}, 0, 0)
}

// send sends the wallet a message.
func (p *peer) send(m wire.Message) {
	p.t.Helper()
	var packed bytes.Buffer
	if _, err := wire.WriteMessageWithEncodingN(&packed, m, protocolVersion, network, wire.LatestEncoding); err != nil {
		p.t.Fatal(err)
	}
	p.conn.SetDeadline(time.Now().Add(patience))
	if _, err := p.conn.Write(packed.Bytes()); err != nil {
		p.t.Fatal(err)
	}
}

// get returns the wallet's next message.
func get[M wire.Message](p *peer) M {
	p.t.Helper()
	p.conn.SetDeadline(time.Now().Add(patience))
	_, m, _, err := wire.ReadMessageWithEncodingN(p.conn, protocolVersion, network, wire.LatestEncoding)
	if err != nil {
		p.t.Fatal(err)
	}
	got, ok := m.(M)
	if !ok {
		p.t.Fatalf("got %s, want %T", m.Command(), got)
	}
	return got
}

// TestWalletFollowsBlock announces a block: the wallet asks for its filter, and labels say when.
func TestWalletFollowsBlock(t *testing.T) {
	w, p, tip := startWallet(t, "inv")
	began := time.Now()
	next := blockAfter(tip)
	p.send(&wire.MsgHeaders{Headers: []*wire.BlockHeader{next}})
	if m := get[*wire.MsgGetCFHeaders](p); m.StartHeight != 2 || m.StopHash != next.BlockHash() {
		t.Errorf("it asks for filter headers from %d to %s, want 2 and %s", m.StartHeight, m.StopHash, next.BlockHash())
	}
	answer := wire.NewMsgCFHeaders()
	answer.StopHash = next.BlockHash()
	p.send(answer)
	if m := get[*wire.MsgGetCFilters](p); m.StartHeight != 2 || m.StopHash != next.BlockHash() {
		t.Errorf("it asks for filters from %d to %s, want 2 and %s", m.StartHeight, m.StopHash, next.BlockHash())
	}
	hash := next.BlockHash()
	p.send(wire.NewMsgCFilter(wire.GCSFilterRegular, &hash, make([]byte, 33)))
	p.send(wire.NewMsgPing(1)) // a later message: the filter has been handled
	for pong := false; !pong; {
		p.conn.SetDeadline(time.Now().Add(patience))
		_, m, _, err := wire.ReadMessageWithEncodingN(p.conn, protocolVersion, network, wire.LatestEncoding)
		if err != nil {
			t.Fatal(err)
		}
		_, pong = m.(*wire.MsgPong) // it may ask for the block first
	}
	c := &chain{blocks: []mined{{hash, began}}, accepted: map[chainhash.Hash]time.Time{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	actions := w.seen(began, time.Hour, c)
	if len(actions) < 2 || actions[0].Kind != "announce" || actions[0].Until == 0 ||
		actions[1].Kind != "filters" || actions[1].Size != 33 || actions[1].Until < actions[1].At {
		t.Errorf("the actions are %+v, want an announcement and a filter of 33 bytes", actions)
	}
}

// TestWalletSends sends a transaction: push sends it, the others announce it and send it when asked, with its witness.
func TestWalletSends(t *testing.T) {
	for _, client := range []string{"inv", "push", "noisy"} {
		t.Run(client, func(t *testing.T) {
			w, p, _ := startWallet(t, client)
			tx, err := coin{value: 50e8}.spend(300, rand.New(rand.NewPCG(1, 1)))
			if err != nil {
				t.Fatal(err)
			}
			id := tx.TxHash()
			began := time.Now()
			sent := make(chan error, 1)
			go func() { sent <- w.sendTx(tx) }()
			if client != "push" {
				if m := get[*wire.MsgInv](p); len(m.InvList) != 1 || m.InvList[0].Hash != id {
					t.Errorf("it announces %+v, want %s", m.InvList, id)
				}
				m := wire.NewMsgGetData()
				m.AddInvVect(wire.NewInvVect(wire.InvTypeWitnessTx, &id))
				p.send(m)
			}
			if got := get[*wire.MsgTx](p); got.WitnessHash() != tx.WitnessHash() {
				t.Errorf("it sends %s, want %s", got.WitnessHash(), tx.WitnessHash())
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			c := &chain{accepted: map[chainhash.Hash]time.Time{id: began.Add(time.Minute)}}
			w.mu.Lock()
			defer w.mu.Unlock()
			if got := w.seen(began, time.Hour, c); len(got) != 1 || got[0].Kind != "tx" || got[0].Size != 300 || got[0].Until != time.Minute {
				t.Errorf("the actions are %+v, want one of a transaction of 300 bytes until 1m", got)
			}
		})
	}
}

// TestWalletRelays announces transactions: only noisy asks for them.
func TestWalletRelays(t *testing.T) {
	for _, client := range []string{"inv", "noisy"} {
		_, p, _ := startWallet(t, client)
		inv := wire.NewMsgInv()
		inv.AddInvVect(wire.NewInvVect(wire.InvTypeTx, &chainhash.Hash{1}))
		p.send(inv)
		if client == "noisy" {
			if m := get[*wire.MsgGetData](p); len(m.InvList) != 1 || m.InvList[0].Hash != (chainhash.Hash{1}) {
				t.Errorf("it asks for %+v, want the announced transaction", m.InvList)
			}
			continue
		}
		p.send(wire.NewMsgPing(3))
		if m := get[*wire.MsgPong](p); m.Nonce != 3 {
			t.Errorf("PONG has nonce %d, want 3", m.Nonce)
		}
	}
}

// TestWalletEnds checks that a session whose connection ends too soon is not waited for.
func TestWalletEnds(t *testing.T) {
	near, far := net.Pipe()
	far.Close()
	w := newWallet(7, "inv", 1, near)
	w.run()
	select {
	case <-w.done:
	default:
		t.Error("the wallet does not say that its connection has ended")
	}
	if w.err == nil || w.ended.IsZero() {
		t.Errorf("it ended at %v: %v", w.ended, w.err)
	}
}

// TestEnvironment checks that settings of the proxy do not change the recording.
func TestEnvironment(t *testing.T) {
	t.Setenv("BIP324_PROXY_UPSTREAM", "socks5://127.0.0.1:9050")
	t.Setenv("OTHER", "1")
	all := environment()
	if slices.Contains(all, "BIP324_PROXY_UPSTREAM=socks5://127.0.0.1:9050") || !slices.Contains(all, "OTHER=1") {
		t.Errorf("the environment is %v", all)
	}
}
