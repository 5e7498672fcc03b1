package transport

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"
)

// roles runs a test with h in each role and a scripted peer at its other end.
func roles(t *testing.T, f func(t *testing.T, h *Handshake, p *peer)) {
	t.Helper()
	for _, initiator := range []bool{true, false} {
		t.Run(fmt.Sprintf("initiator=%v", initiator), func(t *testing.T) {
			key := fixedKey(t, 1)
			h := machine(t, Config{Magic: mainnet, Garbage: testBytes(20, 1)}, initiator, fixedKey(t, 0))
			f(t, h, newPeer(t, h, &key))
		})
	}
}

func one() int { return 1 }
func all() int { return 1 << 30 }

// failed checks that err is want, that it stays, and that all keys are wiped.
func failed(t *testing.T, h *Handshake, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || h.Stage() == StageDone {
		t.Errorf("error %v at stage %q, want %v", err, h.Stage(), want)
	}
	before := h.Received()
	if n, send, again := h.Receive(make([]byte, 5000)); n != 0 || send != nil || again != err || h.Received() != before {
		t.Errorf("after the failure: consumed %d, %d bytes to send, %v", n, len(send), again)
	}
	wiped(t, h)
}

// Garbage may end in, begin with or consist of parts of the terminator.
func TestAlmostTerminator(t *testing.T) {
	for offset := range 16 {
		for _, behind := range []int{0, 1, 16} {
			for _, c := range chunkings() {
				roles(t, func(t *testing.T, h *Handshake, p *peer) {
					garbage := testBytes(offset, 1)
					garbage = append(garbage, p.keys.sendTerminator[:15]...)
					garbage = append(garbage, testBytes(behind, 2)...)
					flight := p.seal.seal(p.hello(garbage), nil, garbage, false)
					if _, _, err := feed(t, h, flight, c.next); err != nil || h.Stage() != StageDone {
						t.Errorf("offset %d, %d bytes behind, %s: stage %q, %v", offset, behind, c.name, h.Stage(), err)
					}
				})
			}
		}
	}
	for prefix := 1; prefix < 16; prefix++ {
		roles(t, func(t *testing.T, h *Handshake, p *peer) {
			garbage := bytes.Repeat(p.keys.sendTerminator[:prefix], MaxGarbage/prefix)
			flight := p.seal.seal(p.hello(garbage), nil, garbage, false)
			if _, _, err := feed(t, h, flight, one); err != nil || h.Stage() != StageDone {
				t.Errorf("terminator[:%d] repeated: stage %q, %v", prefix, h.Stage(), err)
			}
		})
	}
}

// bytesToTerminator is the number of bytes after which the search is given up.
const bytesToTerminator = KeySize + 4095 + 16

func TestTooMuchGarbage(t *testing.T) {
	for _, c := range chunkings() {
		roles(t, func(t *testing.T, h *Handshake, p *peer) {
			garbage := testBytes(MaxGarbage+1, 1)
			flight := p.seal.seal(p.hello(garbage), nil, garbage, false)
			n, _, err := feed(t, h, flight, c.next)
			if n != bytesToTerminator {
				t.Errorf("%s: gave up after %d bytes, want %d", c.name, n, bytesToTerminator)
			}
			failed(t, h, err, ErrNoTerminator)
		})
	}
}

func TestWrongTerminatorBit(t *testing.T) {
	for bit := range 8 * terminatorSize {
		roles(t, func(t *testing.T, h *Handshake, p *peer) {
			garbage := testBytes(100, 1)
			flight := p.hello(garbage)
			flight[KeySize+len(garbage)+bit/8] ^= 1 << (bit % 8)
			flight = p.seal.seal(flight, nil, garbage, false)
			flight = append(flight, testBytes(5000, 2)...)
			n, _, err := feed(t, h, flight, all)
			if n != bytesToTerminator || h.Stage() != StageGarbage {
				t.Errorf("bit %d: gave up after %d bytes at stage %q", bit, n, h.Stage())
			}
			failed(t, h, err, ErrNoTerminator)
		})
	}
}

func TestAssociatedData(t *testing.T) {
	garbage := testBytes(100, 1)
	altered := bytes.Clone(garbage)
	altered[50] ^= 1
	type packet struct {
		aad   []byte
		decoy bool
	}
	for _, c := range []struct {
		name    string
		packets []packet
		want    error
	}{
		{"right", []packet{{garbage, false}}, nil},
		{"none", []packet{{nil, false}}, ErrAuthentication},
		{"altered", []packet{{altered, false}}, ErrAuthentication},
		{"shorter", []packet{{garbage[:99], false}}, ErrAuthentication},
		{"with the terminator", []packet{{append(bytes.Clone(garbage), 1), false}}, ErrAuthentication},
		{"on a decoy", []packet{{garbage, true}, {nil, false}}, nil},
		{"not on the first decoy", []packet{{nil, true}, {garbage, false}}, ErrAuthentication},
		{"twice", []packet{{garbage, true}, {garbage, false}}, ErrAuthentication},
		{"on the second decoy too", []packet{{garbage, true}, {garbage, true}, {nil, false}}, ErrAuthentication},
	} {
		t.Run(c.name, func(t *testing.T) {
			roles(t, func(t *testing.T, h *Handshake, p *peer) {
				flight := p.hello(garbage)
				for _, k := range c.packets {
					flight = p.seal.seal(flight, []byte("contents"), k.aad, k.decoy)
				}
				_, _, err := feed(t, h, flight, one)
				if c.want != nil {
					failed(t, h, err, c.want)
				} else if err != nil || h.Stage() != StageDone {
					t.Errorf("got stage %q, %v", h.Stage(), err)
				}
			})
		})
	}
}

// Contents of the largest size are accepted, without allocating memory for them.
func TestLargestContents(t *testing.T) {
	for _, decoy := range []bool{false, true} {
		roles(t, func(t *testing.T, h *Handshake, p *peer) {
			flight := p.seal.seal(p.hello(nil), make([]byte, MaxContents), nil, decoy)
			if decoy {
				flight = p.seal.seal(flight, nil, nil, false)
			}
			start := KeySize + terminatorSize
			if _, _, err := feed(t, h, flight[:start], all); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for at := start; at < len(flight); {
				part := flight[at:min(at+16<<10, len(flight))]
				n, _, err := h.Receive(part)
				if err != nil || n != len(part) {
					t.Fatalf("byte %d: consumed %d, %v", at, n, err)
				}
				at += n
			}
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 256<<10 {
				t.Errorf("%d bytes were allocated for packets that are discarded", after.TotalAlloc-before.TotalAlloc)
			}
			if h.Stage() != StageDone {
				t.Errorf("decoy %v: stage %q", decoy, h.Stage())
			}
		})
	}
}

func TestTooLargeContents(t *testing.T) {
	for _, n := range []int{MaxContents + 1, 1<<24 - 1} {
		roles(t, func(t *testing.T, h *Handshake, p *peer) {
			flight := append(p.hello(nil), p.promise(n)...)
			took, _, err := feed(t, h, append(flight, make([]byte, 5000)...), all)
			var size *SizeError
			if !errors.As(err, &size) || size.Contents != n {
				t.Errorf("error %v, want a *SizeError of %d", err, n)
			}
			if took != len(flight) || cap(h.buf) > 4<<10 {
				t.Errorf("consumed %d bytes, want %d, and holds %d", took, len(flight), cap(h.buf))
			}
			failed(t, h, err, err)
		})
	}
}

// The peer is on another network, with the same keys.
func TestOtherNetworkV2(t *testing.T) {
	a := machine(t, Config{Magic: mainnet, Garbage: testBytes(20, 1)}, true, fixedKey(t, 0))
	b := machine(t, Config{Magic: signet, Garbage: testBytes(20, 2)}, false, fixedKey(t, 1))
	shake(t, a, b, all)
	for _, h := range []*Handshake{a, b} {
		if h.Stage() != StageGarbage {
			t.Fatalf("stage %q", h.Stage())
		}
		_, _, err := feed(t, h, testBytes(5000, 1), all)
		failed(t, h, err, ErrNoTerminator)
		if h.Received() != bytesToTerminator {
			t.Errorf("gave up after %d bytes", h.Received())
		}
	}
}

// An echo does not complete a handshake, whether of the key alone or of everything we send.
func TestReflection(t *testing.T) {
	h := machine(t, Config{Magic: mainnet, Garbage: testBytes(20, 1)}, true, fixedKey(t, 0))
	echo := h.Start()
	var err error
	for len(echo) > 0 && err == nil {
		var send []byte
		_, send, err = h.Receive(echo)
		echo = send
	}
	if err != nil || h.Stage() != StageGarbage {
		t.Fatalf("stage %q, %v", h.Stage(), err)
	}
	_, _, err = feed(t, h, make([]byte, 5000), all)
	failed(t, h, err, ErrNoTerminator)
}

// A replayed flight fails in another handshake.
func TestReplayedFlight(t *testing.T) {
	for _, initiator := range []bool{true, false} {
		key := fixedKey(t, 1)
		h := machine(t, Config{Magic: mainnet}, initiator, fixedKey(t, 0))
		p := newPeer(t, h, &key)
		flight := p.seal.seal(p.hello(nil), nil, nil, false)
		if _, _, err := feed(t, h, flight, all); err != nil || h.Stage() != StageDone {
			t.Fatal(h.Stage(), err)
		}
		again := machine(t, Config{Magic: mainnet}, initiator, *newPrivateKey())
		_, _, err := feed(t, again, append(flight, make([]byte, 5000)...), all)
		failed(t, again, err, ErrNoTerminator)
	}
}
