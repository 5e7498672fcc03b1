package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// coin is an output that anybody can spend who knows its number: a transaction needs no
// signature. Each has another script, since a filter has an entry for each script.
type coin struct {
	point  wire.OutPoint
	value  int64 // satoshi
	number uint64
}

// minerNumber is the number of the outputs that blocks are mined to.
const minerNumber = 0

// unlock returns the script that spends the coin with a number.
func unlock(number uint64) []byte {
	script := append([]byte{txscript.OP_DATA_8}, make([]byte, 8)...)
	binary.LittleEndian.PutUint64(script[1:], number)
	return append(script, txscript.OP_DROP, txscript.OP_TRUE)
}

// lock returns the script of an output with a number: a P2WSH.
func lock(number uint64) []byte {
	program := sha256.Sum256(unlock(number))
	return append([]byte{txscript.OP_0, txscript.OP_DATA_32}, program[:]...)
}

// minerAddress returns the address that blocks are mined to.
func minerAddress() (string, error) {
	program := sha256.Sum256(unlock(minerNumber))
	to, err := address.NewAddressWitnessScriptHash(program[:], &chaincfg.RegressionNetParams)
	if err != nil {
		return "", err
	}
	return to.EncodeAddress(), nil
}

// input returns the beginning of a transaction that spends c.
func (c coin) input() *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&c.point, nil, wire.TxWitness{unlock(c.number)}))
	return tx
}

// split returns a transaction that spends c into n coins, and the coins, numbered from first.
func (c coin) split(n int, first uint64) (*wire.MsgTx, []coin) {
	tx := c.input()
	each := c.value/int64(n) - 100 // leaves a fee of more than two satoshi per byte
	coins := make([]coin, n)
	for i := range coins {
		coins[i] = coin{value: each, number: first + uint64(i)}
		tx.AddTxOut(wire.NewTxOut(each, lock(coins[i].number)))
	}
	id := tx.TxHash()
	for i := range coins {
		coins[i].point = wire.OutPoint{Hash: id, Index: uint32(i)}
	}
	return tx, coins
}

// spend returns a transaction of exactly size bytes that spends c: to a random script, and to an
// OP_RETURN that fills it up.
func (c coin) spend(size int, random *rand.Rand) (*wire.MsgTx, error) {
	const perByte = 20                      // satoshi of fee
	for _, program := range []int{20, 32} { // with one of them each size can be reached
		change := append([]byte{txscript.OP_0, byte(program)}, make([]byte, program)...)
		for i := range program {
			change[2+i] = byte(random.Uint32())
		}
		tx := c.input()
		tx.AddTxOut(wire.NewTxOut(c.value-int64(size)*perByte, change))
		tx.AddTxOut(wire.NewTxOut(0, []byte{txscript.OP_RETURN}))
		for range 2 { // the script's length may grow when the script does
			if missing := size - tx.SerializeSize(); missing >= 0 {
				for range missing {
					tx.TxOut[1].PkScript = append(tx.TxOut[1].PkScript, txscript.OP_TRUE)
				}
			} else if len(tx.TxOut[1].PkScript)+missing > 0 {
				tx.TxOut[1].PkScript = tx.TxOut[1].PkScript[:len(tx.TxOut[1].PkScript)+missing]
			}
		}
		if tx.SerializeSize() == size {
			return tx, nil
		}
	}
	return nil, fmt.Errorf("a transaction of %d bytes cannot be made", size)
}
