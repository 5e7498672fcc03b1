package transport

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"testing"
)

// hashedWrites hashes the writes to a socket, with their sizes.
type hashedWrites struct {
	nowhere
	hash.Hash
}

func (h hashedWrites) Read(p []byte) (int, error) { return h.nowhere.Read(p) }
func (h hashedWrites) CloseWrite() error          { return nil }

func (h hashedWrites) Write(p []byte) (int, error) {
	h.Hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(p))))
	return h.Hash.Write(p)
}

// Without a shape each byte and each write is as it was before there were shapes: the hashes are
// that version's.
func TestWireWithoutShape(t *testing.T) {
	const (
		wantHandshake = "348ee43d55f3eeb1b24cf2918410d6ec933566e91d717ed763a3afdbc6a64675"
		wantWrites    = "70d82e462b1868729cdce3834678b1f84a20416404f593041aff8318a7fba473"
	)
	for _, shape := range []Shape{{}, {Bucket: 256, Cell: 512, Fakes: -1}} {
		cfg := Config{Magic: mainnet, Garbage: testBytes(777, 1), Decoys: []int{0, 900, 20_000}, Version: []byte("later"),
			First: [][]byte{testBytes(113, 2), nil, testBytes(40_000, 3)}, Shape: shape}
		initiator, responder := machine(t, cfg, true, fixedKey(t, 0)), machine(t, cfg, false, fixedKey(t, 1))
		flights := hashedWrites{Hash: sha256.New()}
		for from, to, b := initiator, responder, initiator.Start(); len(b) > 0; from, to = to, from {
			flights.Write(b)
			var err error
			if _, b, err = to.Receive(b); err != nil {
				t.Fatal(err)
			}
		}
		if got := hex.EncodeToString(flights.Sum(nil)); got != wantHandshake {
			t.Errorf("%v: the handshake's flights have the hash %s, want %s", shape, got, wantHandshake)
		}

		conn := hashedWrites{Hash: sha256.New()}
		client, _ := shapedConn(t, conn, shape)
		for i, n := range edgeSizes() {
			contents := testBytes(n, uint64(i))
			for _, w := range writers {
				for _, queued := range []int{0, 500} {
					if err := client.Queue(contents[:min(n, queued)]); err != nil {
						t.Fatal(err)
					}
					if err := w.send(client, contents); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for range 500 {
			if err := client.Queue(make([]byte, 300)); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(conn.Sum(nil)); got != wantWrites {
			t.Errorf("%v: the writes have the hash %s, want %s", shape, got, wantWrites)
		}
		if got := client.Shaping(); got != (Shaping{}) {
			t.Errorf("%+v", got)
		}
	}
}
