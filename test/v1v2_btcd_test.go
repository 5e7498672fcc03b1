package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// btcdMessages returns every message that btcd can encode, most of them with contents.
func btcdMessages(t *testing.T) []wire.Message {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{1})
	data := func(n int) []byte {
		b := make([]byte, n)
		rng.Read(b)
		return b
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hash := chaincfg.MainNetParams.GenesisHash
	genesis := chaincfg.MainNetParams.GenesisBlock
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(wire.NewOutPoint(hash, 1), data(100), wire.TxWitness{data(72), data(33)}))
	tx.AddTxOut(wire.NewTxOut(5000, data(22)))
	block := wire.NewMsgBlock(&genesis.Header)
	large := wire.NewMsgBlock(&genesis.Header)
	ok(block.AddTransaction(tx))
	for len(large.Transactions) < 20 {
		padded := tx.Copy()
		padded.TxIn[0].Witness[0] = data(150_000)
		ok(large.AddTransaction(padded))
	}

	now := time.Unix(1_700_000_000, 0)
	me, you := wire.NewNetAddressIPPort(net.IPv4(192, 0, 2, 1), 8333, wire.SFNodeNetwork), wire.NewNetAddressIPPort(net.ParseIP("2001:db8::1"), 8333, 0)
	version := wire.NewMsgVersion(me, you, 12345, 800_000)
	version.Timestamp = now
	addr, addrV2 := wire.NewMsgAddr(), wire.NewMsgAddrV2()
	ok(addr.AddAddress(wire.NewNetAddressTimestamp(now, wire.SFNodeNetwork, net.IPv4(192, 0, 2, 1), 8333)))
	for _, n := range []int{4, 16, 32} {
		addrV2.AddrList = append(addrV2.AddrList, wire.NetAddressV2FromBytes(now, wire.SFNodeNetwork, data(n), 8333))
	}
	inv, getData, notFound := wire.NewMsgInv(), wire.NewMsgGetData(), wire.NewMsgNotFound()
	ok(notFound.AddInvVect(wire.NewInvVect(wire.InvTypeTx, hash)))
	for range 1000 {
		ok(inv.AddInvVect(wire.NewInvVect(wire.InvTypeBlock, hash)))
		ok(getData.AddInvVect(wire.NewInvVect(wire.InvTypeWitnessBlock, hash)))
	}
	getBlocks, getHeaders, headers := wire.NewMsgGetBlocks(hash), wire.NewMsgGetHeaders(), wire.NewMsgHeaders()
	ok(getBlocks.AddBlockLocatorHash(hash))
	ok(getHeaders.AddBlockLocatorHash(hash))
	for range wire.MaxBlockHeadersPerMsg {
		ok(headers.AddBlockHeader(&genesis.Header))
	}
	merkle := wire.NewMsgMerkleBlock(&genesis.Header)
	ok(merkle.AddTxHash(hash))
	merkle.Transactions, merkle.Flags = 1, data(1)
	cfHeaders, cfCheckpt := wire.NewMsgCFHeaders(), wire.NewMsgCFCheckpt(wire.GCSFilterRegular, hash, 1)
	ok(cfHeaders.AddCFHash(hash))
	ok(cfCheckpt.AddCFHeader(hash))

	return []wire.Message{
		version, wire.NewMsgVerAck(), wire.NewMsgSendAddrV2(), wire.NewMsgWTxIdRelay(), wire.NewMsgSendHeaders(),
		wire.NewMsgFeeFilter(1000), wire.NewMsgGetAddr(), addr, addrV2, getBlocks, getHeaders, headers,
		inv, getData, notFound, tx, block, genesis, large, wire.NewMsgPing(77), wire.NewMsgPong(77), wire.NewMsgMemPool(),
		wire.NewMsgFilterLoad(data(500), 10, 0, wire.BloomUpdateNone), wire.NewMsgFilterAdd(data(32)), wire.NewMsgFilterClear(), merkle,
		wire.NewMsgReject("tx", wire.RejectInvalid, "reason"),
		wire.NewMsgGetCFilters(wire.GCSFilterRegular, 0, hash), wire.NewMsgCFilter(wire.GCSFilterRegular, hash, data(30_000)),
		wire.NewMsgGetCFHeaders(wire.GCSFilterRegular, 0, hash), cfHeaders,
		wire.NewMsgGetCFCheckpt(wire.GCSFilterRegular, hash), cfCheckpt,
	}
}

// v1Stream returns btcd's messages as btcd encodes them in v1.
func v1Stream(t *testing.T, messages []wire.Message) (all []byte, each [][]byte) {
	t.Helper()
	for _, m := range messages {
		var b bytes.Buffer
		if _, err := wire.WriteMessageWithEncodingN(&b, m, wire.ProtocolVersion, wire.MainNet, wire.LatestEncoding); err != nil {
			t.Fatalf("%s: %v", m.Command(), err)
		}
		all, each = append(all, b.Bytes()...), append(each, b.Bytes())
	}
	return all, each
}

// bytesConn is a connection that reads from a byte slice.
type bytesConn struct {
	net.Conn
	*bytes.Reader
}

func (c bytesConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// Every message of btcd, read in v1 and written in v2 by us, equals btcd's v2 encoding; and vice versa.
func TestMessagesAreAsBtcdWritesThem(t *testing.T) {
	magic := mainnetMagic
	messages := btcdMessages(t)
	all, each := v1Stream(t, messages)
	r := v1v2.NewReader(stream.NewReader(bytesConn{Reader: bytes.NewReader(all)}), magic)
	short := 0
	for i, m := range messages {
		name := m.Command()
		var b bytes.Buffer
		if _, err := wire.WriteV2MessageN(&b, m, wire.ProtocolVersion, wire.LatestEncoding); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v1, v2 := each[i], b.Bytes()
		if v2[0] != 0 {
			short++
		}

		got, ok, err := r.Next()
		if err != nil || !ok || got.Type.String() != name || !bytes.Equal(got.Raw(), v1) || !bytes.Equal(got.Payload(), v1[24:]) {
			t.Fatalf("%s in v1: %q, %v, %v", name, got.Type, ok, err)
		}
		if contents := got.Contents(); !bytes.Equal(contents, v2) {
			t.Errorf("%s: contents of %d bytes, btcd has %d", name, len(contents), len(v2))
		}
		if contents := v1v2.AppendContents(nil, v1v2.TypeOf(name), v1[24:]); !bytes.Equal(contents, v2) {
			t.Errorf("%s: contents of %d bytes, btcd has %d", name, len(contents), len(v2))
		}
		typ, payload, ok := v1v2.Decode(v2)
		if !ok || typ.String() != name || !bytes.Equal(payload, v1[24:]) {
			t.Errorf("%s from v2: %q, %d bytes, %v", name, typ, len(payload), ok)
		}
		if back := v1v2.AppendMessage(nil, magic, typ, payload); !bytes.Equal(back, v1) {
			t.Errorf("%s: %d bytes in v1, btcd has %d", name, len(back), len(v1))
		}
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if short < 24 {
		t.Errorf("only %d messages with an id", short)
	}
}

// btcd decodes what we write: the same message in both framings.
func TestMessagesAreReadByBtcd(t *testing.T) {
	magic := mainnetMagic
	messages := btcdMessages(t)
	_, each := v1Stream(t, messages)
	for i, m := range messages {
		if m.Command() == wire.CmdWTxIdRelay {
			continue // btcd cannot decode its own
		}
		name, payload := v1v2.TypeOf(m.Command()), each[i][24:]
		inV1, _, err1 := readV1(v1v2.AppendMessage(nil, magic, name, payload))
		inV2, _, err2 := wire.ReadV2MessageN(v1v2.AppendContents(nil, name, payload), wire.ProtocolVersion, wire.LatestEncoding)
		if err := errors.Join(err1, err2); err != nil || !reflect.DeepEqual(inV1, inV2) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func readV1(raw []byte) (wire.Message, []byte, error) {
	_, m, payload, err := wire.ReadMessageWithEncodingN(bytes.NewReader(raw), wire.ProtocolVersion, wire.MainNet, wire.LatestEncoding)
	return m, payload, err
}

func TestNetworksAreThoseOfBtcd(t *testing.T) {
	for want, network := range map[string]wire.BitcoinNet{
		"mainnet":  wire.MainNet,
		"regtest":  wire.TestNet,
		"testnet3": wire.TestNet3,
		"testnet4": wire.TestNet4,
		"signet":   wire.SigNet,
		"simnet":   wire.SimNet,
	} {
		magic := binary.LittleEndian.AppendUint32(nil, uint32(network))
		if got := transport.NetworkName([4]byte(magic)); got != want {
			t.Errorf("magic %x: got %s, want %s", magic, got, want)
		}
	}
	custom := chaincfg.CustomSignetParams([]byte{0x51}, nil)
	magic := [4]byte(binary.LittleEndian.AppendUint32(nil, uint32(custom.Net)))
	got, v1, err := v1v2.Classify(stream.NewReader(bytesConn{Reader: bytes.NewReader(v1v2.AppendMessage(nil, magic, v1v2.TypeOf("version"), nil))}))
	if got != magic || !v1 || err != nil {
		t.Errorf("a custom signet: %x, %v, %v", got, v1, err)
	}
}
