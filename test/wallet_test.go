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

// wallet is one key on one network: blocks are mined to it, so the tests have coins to send.
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
	// btcd takes what begins like a Bech32 address for one: of simnet's base58 addresses a few in a thousand begin
	// with Sb1.
	if strings.HasPrefix(strings.ToLower(addr.EncodeAddress()), params.Bech32HRPSegwit+"1") {
		return newWallet(t, params)
	}
	return &wallet{params, key, addr}
}

// spendCoinbase returns a signed transaction, and its id, that sends the coins made in a block back to the wallet.
// The block is hex, as getblock gives it, and must have matured: 100 blocks on the private networks.
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
	const fee = 10_000 // satoshi, far above the least that is relayed
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
