package transport

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// region is a part of a side's stream, with the effect of a flipped bit in it on the receiver.
type region struct {
	name string
	end  int // offset in the stream
	// verdict checks the receiver after the altered stream, and after 20,000 more bytes if more is
	// set.
	verdict func(h *Handshake, err error, more bool) bool
}

func refused(want error) func(*Handshake, error, bool) bool {
	return func(h *Handshake, err error, more bool) bool { return errors.Is(err, want) }
}

// lost checks that the terminator is never found.
func lost(h *Handshake, err error, more bool) bool {
	if !more {
		return err == nil && h.Stage() == StageGarbage
	}
	return err == ErrNoTerminator && h.Received() == bytesToTerminator
}

// resized checks that the packet, whose length has changed, is refused for its size, fails
// authentication, or waits for more bytes.
func resized(h *Handshake, err error, more bool) bool {
	var size *SizeError
	waits := err == nil && h.Stage() == StageVersion
	return errors.As(err, &size) || err == ErrAuthentication || waits && (!more || h.verifier.size > 20_000)
}

// Each bit of both sides' flights is flipped on the way, one at a time. The receiver never
// completes the handshake. The sender, whose input is intact, does, unless the bit was in the key,
// or the sender is the responder and the initiator failed before it answered.
func TestFlippedBits(t *testing.T) {
	keyI, keyR := fixedKey(t, 0), fixedKey(t, 1)
	cfg := func(seed uint64) Config {
		return Config{Magic: mainnet, Garbage: testBytes(70, seed), Decoys: []int{300}, Version: []byte("reserved")}
	}
	decoy := packetSize(300)
	regions := []region{
		{"key", KeySize, lost},
		{"garbage", KeySize + 70, refused(ErrAuthentication)},
		{"terminator", KeySize + 70 + 16, lost},
		{"length of the decoy", KeySize + 70 + 16 + 3, resized},
		{"decoy", KeySize + 70 + 16 + decoy, refused(ErrAuthentication)},
		{"length of the version packet", KeySize + 70 + 16 + decoy + 3, resized},
		{"version packet", KeySize + 70 + 16 + decoy + packetSize(8), refused(ErrAuthentication)},
	}
	total := regions[len(regions)-1].end

	for _, altersInitiator := range []bool{true, false} {
		t.Run(fmt.Sprintf("initiator=%v", altersInitiator), func(t *testing.T) {
			t.Parallel()
			for bit := range 8 * total {
				at, mask := bit/8, byte(1)<<(bit%8)
				i := 0
				for regions[i].end <= at {
					i++
				}
				where := fmt.Sprintf("bit %d of byte %d (%s)", bit%8, at, regions[i].name)

				a, b := machine(t, cfg(1), true, keyI), machine(t, cfg(2), false, keyR)
				sender, receiver := a, b
				if !altersInitiator {
					sender, receiver = b, a
				}
				err := converse(a, b, func(from *Handshake, offset int, sent []byte) []byte {
					if from == sender && at >= offset && at < offset+len(sent) {
						sent = bytes.Clone(sent)
						sent[at-offset] ^= mask
					}
					return sent
				})
				if receiver.Stage() == StageDone {
					t.Fatalf("%s: done", where)
				}
				if !regions[i].verdict(receiver, err[receiver], false) {
					t.Fatalf("%s: stage %q, %v", where, receiver.Stage(), err[receiver])
				}
				want := at >= KeySize && (sender == a || err[receiver] == nil)
				if done := sender.Stage() == StageDone && err[sender] == nil; done != want {
					t.Fatalf("%s: the sender is at stage %q, %v", where, sender.Stage(), err[sender])
				}
				if err[receiver] == nil && (bit%8 == 7 || receiver.Stage() == StageVersion) { // more bytes do not help
					_, _, more := feed(t, receiver, filler, all)
					if receiver.Stage() == StageDone || !regions[i].verdict(receiver, more, true) {
						t.Fatalf("%s, with more bytes: stage %q, %v", where, receiver.Stage(), more)
					}
				}
			}
		})
	}
}

var filler = testBytes(20_000, 9)

// converse carries whole flights between two machines, each altered by a man in the middle, and
// returns the error of each. A side that has failed sends and receives nothing more; the other
// still receives what was on its way.
func converse(a, b *Handshake, alter func(from *Handshake, offset int, sent []byte) []byte) map[*Handshake]error {
	errs := map[*Handshake]error{}
	offset := map[*Handshake]int{}
	pending := map[*Handshake][]byte{b: alter(a, 0, a.Start())}
	offset[a] = len(pending[b])
	for len(pending[a])+len(pending[b]) > 0 {
		for _, h := range []*Handshake{a, b} {
			from := a
			if h == a {
				from = b
			}
			in := pending[h]
			pending[h] = nil
			if errs[h] != nil || h.Stage() == StageDone {
				continue
			}
			_, send, err := h.Receive(in)
			errs[h] = err
			pending[from] = append(pending[from], alter(h, offset[h], send)...)
			offset[h] += len(send)
		}
	}
	return errs
}
