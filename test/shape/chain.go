package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

const (
	firstBlocks  = 440  // btcd's regtest has segwit from block 432 on
	coinsPerTx   = 1000 // made of one coinbase
	pollInterval = 20 * time.Millisecond
)

// chain is what happens at the node: it mines, and notes when the node has accepted which transaction.
type chain struct {
	node *fullNode

	outputs int // in each block, besides those of its transactions
	seed    uint64

	mu       sync.Mutex
	coins    []coin
	numbered uint64 // coins so far
	accepted map[chainhash.Hash]time.Time
	blocks   []mined
}

// mined is a block, and when it was made.
type mined struct {
	hash chainhash.Hash
	at   time.Time
}

// newChain mines blocks and makes coins of them.
func newChain(ctx context.Context, n *fullNode, coins, outputs int, seed uint64) (*chain, error) {
	c := &chain{node: n, outputs: outputs, seed: seed, accepted: map[chainhash.Hash]time.Time{}}
	hashes, err := n.mine(ctx, firstBlocks)
	if err != nil {
		return nil, err
	}
	if most := len(hashes) * coinsPerTx; coins > most {
		return nil, fmt.Errorf("the recording needs %d coins; must be at most %d: record fewer sessions, for a shorter time, or with fewer outputs", coins, most)
	}
	for i := 0; len(c.coins) < coins; i++ {
		block, err := n.block(ctx, hashes[i])
		if err != nil {
			return nil, err
		}
		base := block.Transactions[0]
		source := coin{value: base.TxOut[0].Value, number: minerNumber}
		source.point = wire.OutPoint{Hash: base.TxHash()}
		tx, made := c.split(source, coinsPerTx)
		if err := n.send(ctx, tx); err != nil {
			return nil, err
		}
		c.coins = append(c.coins, made...)
		if _, err := n.mine(ctx, 1); err != nil {
			return nil, err
		}
	}
	return c, nil
}

var errNoCoins = errors.New("no coins are left")

// next returns a transaction of a size that is drawn from the list.
func (c *chain) next(random *rand.Rand) (*wire.MsgTx, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	spent := c.take()
	if spent == nil {
		return nil, errNoCoins
	}
	return spent.spend(transactionSizes[random.IntN(len(transactionSizes))], random)
}

// take returns a coin that nobody else gets, or nil. c.mu is held.
func (c *chain) take() *coin {
	if len(c.coins) == 0 {
		return nil
	}
	last := len(c.coins) - 1
	taken := c.coins[last]
	c.coins = c.coins[:last]
	return &taken
}

// run mines, and sends the node other people's transactions at a rate per second, until ctx ends.
func (c *chain) run(ctx context.Context, rate float64) error {
	var all sync.WaitGroup
	errs := make(chan error, 3)
	all.Go(func() { errs <- c.watch(ctx) })
	all.Go(func() { errs <- c.mineAll(ctx) })
	all.Go(func() { errs <- c.relayOthers(ctx, rate) })
	all.Wait()
	return errors.Join(<-errs, <-errs, <-errs)
}

// mineAll mines a block now and then.
func (c *chain) mineAll(ctx context.Context) error {
	random := rand.New(rand.NewPCG(c.seed, 1<<32))
	wait := drawTime(random, blockEvery/10, blockEvery)
	for pause(ctx, wait) {
		if err := c.enlarge(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		at := time.Now()
		hashes, err := c.node.mine(context.WithoutCancel(ctx), 1)
		if err != nil {
			return err
		}
		block, err := c.node.block(context.WithoutCancel(ctx), hashes[0])
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.blocks = append(c.blocks, mined{block.BlockHash(), at})
		for _, tx := range block.Transactions {
			c.accept(tx.TxHash(), at)
		}
		c.mu.Unlock()
		wait = drawTime(random, blockEvery*7/10, blockEvery*13/10)
	}
	return nil
}

// split splits a coin into n with other scripts than all before.
func (c *chain) split(source coin, n int) (*wire.MsgTx, []coin) {
	c.mu.Lock()
	first := c.numbered + 1
	c.numbered += uint64(n)
	c.mu.Unlock()
	return source.split(n, first)
}

// enlarge sends the node transactions with many outputs, so that the next block has a large filter.
func (c *chain) enlarge(ctx context.Context) error {
	for rest := c.outputs; rest > 0; rest -= coinsPerTx {
		c.mu.Lock()
		spent := c.take()
		c.mu.Unlock()
		if spent == nil {
			return errNoCoins
		}
		tx, _ := c.split(*spent, min(rest, coinsPerTx))
		if err := c.node.send(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// watch notes when the node accepts transactions.
func (c *chain) watch(ctx context.Context) error {
	for pause(ctx, pollInterval) {
		ids, err := c.node.mempool(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		now := time.Now()
		c.mu.Lock()
		for _, id := range ids {
			hash, err := chainhash.NewHashFromStr(id)
			if err != nil {
				c.mu.Unlock()
				return fmt.Errorf("getrawmempool: %w", err)
			}
			c.accept(*hash, now)
		}
		c.mu.Unlock()
	}
	return nil
}

// accept notes that the node has a transaction, unless it had it before. c.mu is held.
func (c *chain) accept(id chainhash.Hash, at time.Time) {
	if _, known := c.accepted[id]; !known {
		c.accepted[id] = at
	}
}

// relayOthers sends the node transactions that belong to no session.
func (c *chain) relayOthers(ctx context.Context, rate float64) error {
	if rate <= 0 {
		return nil
	}
	random := rand.New(rand.NewPCG(c.seed, 1<<32+1))
	for pause(ctx, time.Duration(random.ExpFloat64()/rate*float64(time.Second))) {
		tx, err := c.next(random)
		if err != nil {
			return err
		}
		if err := c.node.send(context.WithoutCancel(ctx), tx); err != nil {
			return err
		}
	}
	return nil
}

// pause waits, and reports whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
