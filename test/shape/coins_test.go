package main

import (
	"math/rand/v2"
	"testing"

	"github.com/btcsuite/btcd/txscript/v2"
)

// TestSpendSizes makes transactions of all sizes on the list and around the places where a length
// needs more bytes; all are valid.
func TestSpendSizes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	_, coins := coin{value: 50e8}.split(10, 100)
	sizes := append([]int(nil), transactionSizes...)
	for size := 150; size < 700; size++ {
		sizes = append(sizes, size)
	}
	for i, size := range sizes {
		c := coins[i%len(coins)]
		tx, err := c.spend(size, random)
		if err != nil {
			t.Fatal(err)
		}
		if got := tx.SerializeSize(); got != size {
			t.Errorf("got %d bytes, want %d", got, size)
		}
		fetcher := txscript.NewCannedPrevOutputFetcher(lock(c.number), c.value)
		vm, err := txscript.NewEngine(lock(c.number), tx, 0, txscript.StandardVerifyFlags, nil,
			txscript.NewTxSigHashes(tx, fetcher), c.value, fetcher)
		if err != nil {
			t.Fatal(err)
		}
		if err := vm.Execute(); err != nil {
			t.Errorf("a transaction of %d bytes: %v", size, err)
		}
	}
}
