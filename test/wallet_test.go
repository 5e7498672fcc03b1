package test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"
)

// wallet is one key on one network: blocks are mined to it, so that tests have coins to spend.
type wallet struct {
	params  *chaincfg.Params
	key     *btcec.PrivateKey
	address address.Address // P2PKH: both btcd and Core mine to it and relay what spends it
}

func newWallet(t *testing.T, params *chaincfg.Params) *wallet {
	t.Helper()
	key, err := btcec.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := address.NewAddressPubKeyHash(address.Hash160(key.PubKey().SerializeCompressed()), params)
	if err != nil {
		t.Fatal(err)
	}
	// btcd takes any address that begins like Bech32 for one: on simnet a few base58 addresses in a thousand begin with
	// Sb1.
	if strings.HasPrefix(strings.ToLower(addr.EncodeAddress()), params.Bech32HRPSegwit+"1") {
		return newWallet(t, params)
	}
	return &wallet{params, key, addr}
}

// spendCoinbase returns a signed transaction, and its id, that sends a block's coinbase back to the wallet. The block
// is hex, from getblock, and must have matured: 100 blocks on the private networks.
func (w *wallet) spendCoinbase(t *testing.T, rawBlock string) (rawTx, txid string) {
	t.Helper()
	var block wire.MsgBlock
	if err := block.Deserialize(hex.NewDecoder(bytes.NewReader([]byte(rawBlock)))); err != nil {
		t.Fatalf("getblock: %v", err)
	}
	coinbase := block.Transactions[0]
	script, err := txscript.PayToAddrScript(w.address)
	if err != nil {
		t.Fatal(err)
	}
	const fee = 10_000 // satoshi, far above the minimum relay fee
	hash := coinbase.TxHash()
	tx := wire.NewMsgTx(wire.TxVersion)
	tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(&hash, 0), nil, nil))
	tx.AddTxOut(wire.NewTxOut(coinbase.TxOut[0].Value-fee, script))
	tx.TxIn[0].SignatureScript, err = txscript.SignatureScript(tx, 0, script, txscript.SigHashAll, w.key, true)
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := tx.Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(raw.Bytes()), tx.TxHash().String()
}
