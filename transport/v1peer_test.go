package transport

import (
	"bytes"
	"testing"
)

// A responder is silent until a byte differs from a v1 header, answers on that byte, and then
// completes the handshake.
func TestResponderAnswersAtFirstDifference(t *testing.T) {
	prefix := v1Prefix(mainnet)
	for same := range v1PrefixSize {
		start := append(bytes.Clone(prefix[:same]), prefix[same]^0x20)
		key := keyWithPrefix(start)
		garbage := testBytes(30, 1)
		h := machine(t, Config{Magic: mainnet, Garbage: garbage}, false, fixedKey(t, 0))
		p := newPeer(t, h, key)
		flight := p.seal.seal(p.hello(nil), nil, nil, false)
		hello := append(bytes.Clone(h.key.public[:]), garbage...)

		for i := range KeySize {
			n, send, err := h.Receive(flight[i : i+1])
			if n != 1 || err != nil {
				t.Fatalf("%d equal bytes: byte %d: consumed %d, %v", same, i, n, err)
			}
			switch {
			case i == same:
				if !bytes.Equal(send, hello) {
					t.Fatalf("%d equal bytes: answered %d bytes, want key and garbage", same, len(send))
				}
			case i == KeySize-1:
				if !bytes.HasPrefix(send, p.keys.recvTerminator[:]) || len(send) != terminatorSize+packetSize(0) {
					t.Fatalf("%d equal bytes: %d bytes after the key", same, len(send))
				}
				p.take(t, send[terminatorSize:], garbage)
			case len(send) != 0:
				t.Fatalf("%d equal bytes: %d bytes sent on byte %d", same, len(send), i)
			}
		}
		if _, _, err := feed(t, h, flight[KeySize:], one); err != nil || h.Stage() != StageDone {
			t.Fatalf("%d equal bytes: stage %q, %v", same, h.Stage(), err)
		}
	}
}

// If the key arrives in one piece, the responder has one flight.
func TestResponderSingleFlight(t *testing.T) {
	key := fixedKey(t, 1)
	garbage := testBytes(30, 1)
	h := machine(t, Config{Magic: mainnet, Garbage: garbage}, false, fixedKey(t, 0))
	if h.Start() != nil {
		t.Fatal("Start of a responder returned data")
	}
	p := newPeer(t, h, &key)
	_, send, err := h.Receive(key.public[:])
	want := append(bytes.Clone(h.key.public[:]), garbage...)
	want = append(want, p.keys.recvTerminator[:]...)
	if err != nil || !bytes.HasPrefix(send, want) {
		t.Fatalf("got a flight of %d bytes, %v", len(send), err)
	}
	if got := p.take(t, send[len(want):], garbage); len(got) != 1 || got[0].decoy || len(got[0].contents) != 0 {
		t.Errorf("got packets %v", got)
	}
}

func TestV1Peer(t *testing.T) {
	version := func(magic [4]byte) []byte {
		p := v1Prefix(magic)
		return append(p[:], testBytes(110, 1)...)
	}
	for _, c := range []struct {
		name  string
		in    []byte
		want  error
		after int // number of bytes if they arrive one by one
	}{
		{"ours", version(mainnet), ErrV1Peer, 16},
		{"other", version(signet), ErrV1OtherNetwork, v1PrefixSize},
		{"one bit off", version([4]byte{0xf9, 0xbe, 0xb4, 0xd8}), ErrV1OtherNetwork, v1PrefixSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := machine(t, Config{Magic: mainnet}, false, fixedKey(t, 0))
			n, sent, err := feed(t, h, c.in, one)
			if n != c.after {
				t.Errorf("known after %d bytes, want %d", n, c.after)
			}
			if c.want == ErrV1Peer && len(sent) != 0 {
				t.Errorf("%d bytes were sent, want none", len(sent))
			}
			failed(t, h, err, c.want)

			// If it arrives whole, nothing is sent in either case.
			h = machine(t, Config{Magic: mainnet}, false, fixedKey(t, 0))
			_, sent, err = feed(t, h, c.in, all)
			if len(sent) != 0 {
				t.Errorf("%d bytes were sent, want none", len(sent))
			}
			failed(t, h, err, c.want)
		})
	}
}

// An initiator takes a whole VERSION header of its network for v1, and nothing less; an honest key
// never looks like one.
func TestInitiatorMeetsV1(t *testing.T) {
	header := func(magic [4]byte) []byte {
		p := v1Prefix(magic)
		return append(p[:], testBytes(v1HeaderSize-v1PrefixSize, 1)...)
	}
	for _, c := range []struct {
		name  string
		in    []byte
		want  error
		after int
	}{
		{"ours", header(mainnet), ErrV1Peer, v1HeaderSize},
		{"ours, without the last byte", header(mainnet)[:v1HeaderSize-1], nil, v1HeaderSize - 1},
		{"other", header(signet), ErrV1OtherNetwork, v1PrefixSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := machine(t, Config{Magic: mainnet}, true, fixedKey(t, 0))
			h.Start()
			n, _, err := feed(t, h, c.in, one)
			if n != c.after || err != c.want {
				t.Errorf("got %v after %d bytes, want %v after %d", err, n, c.want, c.after)
			}
		})
	}
}
