package v1v2

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"testing"

	"bip324proxy/internal/stream"
	"bip324proxy/internal/testkit"
)

// Messages arrive as Alter has them, whatever their size was and becomes; those that are
// dropped are not shown to it.
func TestAlter(t *testing.T) {
	border := new(stream.Reader).Size() - HeaderSize // the largest payload of a small message
	sizes := []int{0, 1, 300, border - 1, border, border + 1, border + 2, stream.BatchSize, stream.BatchSize + 1, 100_000, MaxPayload}
	var sent, want []byte
	calls, altered := 0, [][]byte{nil}
	for i, from := range sizes {
		for _, to := range append(slices.Clone(sizes), -1) {
			if from == MaxPayload && to > 300 || to == MaxPayload && from > 300 {
				continue // takes long
			}
			payload := testkit.RandomBytes(from, uint64(i))
			message := AppendMessage(nil, mainnet, TypeOf("tx"), payload)
			sent = append(sent, message...)
			if to < 0 {
				altered, want = append(altered, nil), append(want, message...)
			} else {
				other := testkit.RandomBytes(to, uint64(100+i))
				altered, want = append(altered, other), append(want, AppendMessage(nil, mainnet, TypeOf("tx"), other)...)
			}
			wrong := bytes.Clone(message)
			wrong[20] ^= 1
			sent = append(sent, wrong...)
		}
	}
	messages := NewReader(bytes.NewReader(sent), mainnet)
	messages.Alter = func(kind Type, payload []byte) []byte {
		calls++
		return altered[calls]
	}
	ours, theirs := connPair(t, testkit.TCPPair)
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := ours.ReadFrom(messages); err != nil {
			t.Error(err)
		}
		ours.CloseWrite()
	})
	got, err := io.ReadAll(theirs)
	sending.Wait()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v, want %d others", len(got), err, len(want))
	}
	if calls != len(altered)-1 || ours.Sent.Bytes.Load() != uint64(len(want)) {
		t.Errorf("%d calls, want %d; counted %d bytes, want %d", calls, len(altered)-1, ours.Sent.Bytes.Load(), len(want))
	}
}
