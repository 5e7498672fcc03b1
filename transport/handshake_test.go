package transport

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// established checks that both machines are done, share a session, wiped their keys, and understand
// each other's packets.
func established(t *testing.T, a, b *Handshake) {
	t.Helper()
	if a.Stage() != StageDone || b.Stage() != StageDone {
		t.Fatalf("got stages %q and %q", a.Stage(), b.Stage())
	}
	if a.keys.sessionID != b.keys.sessionID || a.keys.sessionID == [32]byte{} {
		t.Fatalf("got session ids %x and %x", a.keys.sessionID, b.keys.sessionID)
	}
	wiped(t, a)
	wiped(t, b)
	for _, d := range []struct {
		s *direction
		o *direction
	}{{a.out, b.in}, {b.out, a.in}} {
		p := d.s.seal(nil, []byte("contents"), nil, false)
		if n, err := d.o.length.openLength(p); n != 8 || err != nil {
			t.Fatalf("length %d, %v", n, err)
		}
		if got, _, err := d.o.open(p[lengthSize:], nil); err != nil || string(got) != "contents" {
			t.Fatalf("opened %q, %v", got, err)
		}
	}
}

var garbageSizes = []int{0, 1, 15, 16, 63, 64, 4093, 4094, 4095}

func TestHandshakeGarbage(t *testing.T) {
	keyI, keyR := fixedKey(t, 0), fixedKey(t, 1)
	for _, c := range chunkings() {
		t.Run(c.name, func(t *testing.T) {
			for _, g := range garbageSizes {
				for _, g2 := range garbageSizes {
					a := machine(t, Config{Magic: mainnet, Garbage: testBytes(g, 1)}, true, keyI)
					b := machine(t, Config{Magic: mainnet, Garbage: testBytes(g2, 2)}, false, keyR)
					shake(t, a, b, c.next)
					established(t, a, b)
				}
			}
		})
	}
}

// Each machine chooses its key and garbage; all lengths work.
func TestHandshakeRandom(t *testing.T) {
	lengths := map[int]bool{}
	for range 20 {
		a, err := NewHandshake(Config{Magic: mainnet}, true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewHandshake(Config{Magic: mainnet}, false)
		if err != nil {
			t.Fatal(err)
		}
		shake(t, a, b, func() int { return 100 })
		established(t, a, b)
		c, err := NewHandshake(Config{Magic: mainnet}, true)
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(c.Start())-KeySize] = true
	}
	if len(lengths) < 3 {
		t.Errorf("the garbage had only the lengths %v", lengths)
	}
}

func TestHandshakePackets(t *testing.T) {
	keyI, keyR := fixedKey(t, 0), fixedKey(t, 1)
	big := 300_000
	for _, decoys := range [][]int{nil, {0}, {1}, {big}, {0, 1, 2, 3, 5, 8, 13, 21, 34, 55}, {big, 0, big}} {
		for _, version := range []int{0, 5, 4096} {
			for _, c := range chunkings() {
				t.Run(fmt.Sprintf("decoys=%v/version=%d/%s", decoys, version, c.name), func(t *testing.T) {
					cfg := Config{Magic: mainnet, Garbage: testBytes(40, 1), Decoys: decoys, Version: make([]byte, version)}
					a, b := machine(t, cfg, true, keyI), machine(t, cfg, false, keyR)
					shake(t, a, b, c.next)
					established(t, a, b)
				})
			}
		}
	}
}

func TestManyDecoys(t *testing.T) {
	for _, initiator := range []bool{true, false} {
		key := fixedKey(t, 1)
		h := machine(t, Config{Magic: mainnet, Garbage: []byte{}}, initiator, fixedKey(t, 0))
		p := newPeer(t, h, &key)
		flight := make([]byte, 0, 1<<20)
		flight = append(flight, p.hello([]byte("garbage"))...)
		flight = p.seal.seal(flight, nil, []byte("garbage"), true)
		for i := range 9_999 {
			flight = p.seal.seal(flight, make([]byte, i%50), nil, true)
		}
		if n, _, err := feed(t, h, flight, func() int { return 997 }); err != nil || n != len(flight) || h.Stage() != StageVersion {
			t.Fatalf("decoys: %d of %d consumed, stage %q, %v", n, len(flight), h.Stage(), err)
		}
		if _, _, err := h.Receive(p.seal.seal(nil, nil, nil, false)); err != nil || h.Stage() != StageDone {
			t.Fatalf("version packet: stage %q, %v", h.Stage(), err)
		}
	}
}

// The initiator answers the 64th byte, and only that, with its terminator, decoys, version packet
// and first messages at once; the peer's garbage gets no answer.
func TestSecondFlight(t *testing.T) {
	key := fixedKey(t, 1)
	ours := []byte("our garbage")
	first := [][]byte{[]byte("version message"), {}, make([]byte, 50_000)}
	cfg := Config{Magic: mainnet, Garbage: ours, Version: []byte("later"), Decoys: []int{7, 0}, First: first}
	h := machine(t, cfg, true, fixedKey(t, 0))
	p := newPeer(t, h, &key)

	if got, want := h.Start(), append(bytes.Clone(h.key.public[:]), ours...); !bytes.Equal(got, want) {
		t.Fatalf("first flight %x, want %x", got, want)
	}
	if again := h.Start(); again != nil {
		t.Fatalf("Start returned %d bytes the second time", len(again))
	}
	flight := append(p.hello(testBytes(200, 3)), p.seal.seal(nil, nil, testBytes(200, 3), false)...)
	for i, c := range flight[:63] {
		if n, send, err := h.Receive([]byte{c}); n != 1 || len(send) != 0 || err != nil {
			t.Fatalf("byte %d: consumed %d, %d bytes to send, %v", i, n, len(send), err)
		}
	}
	_, send, err := h.Receive(flight[63:64])
	if err != nil || !bytes.HasPrefix(send, p.keys.recvTerminator[:]) {
		t.Fatalf("second flight: %d bytes, %v", len(send), err)
	}
	got := p.take(t, send[terminatorSize:], ours)
	want := []opened{{make([]byte, 7), true}, {nil, true}, {[]byte("later"), false},
		{first[0], false}, {first[1], false}, {first[2], false}}
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i].contents, want[i].contents) || got[i].decoy != want[i].decoy {
			t.Errorf("packet %d: %d bytes, decoy %v", i, len(got[i].contents), got[i].decoy)
		}
	}
	if _, send, err := h.Receive(flight[64:]); len(send) != 0 || err != nil || h.Stage() != StageDone {
		t.Fatalf("the rest: %d bytes to send, %v, stage %q", len(send), err, h.Stage())
	}
}

// Data after the version packet is left for the session.
func TestHandshakeLeavesTheRest(t *testing.T) {
	for _, initiator := range []bool{true, false} {
		for _, c := range chunkings() {
			key := fixedKey(t, 1)
			h := machine(t, Config{Magic: mainnet, Garbage: []byte{}}, initiator, fixedKey(t, 0))
			p := newPeer(t, h, &key)
			flight := p.seal.seal(p.hello(nil), nil, nil, false)
			message := p.seal.seal(nil, []byte("message"), nil, false)
			n, _, err := feed(t, h, append(bytes.Clone(flight), message...), c.next)
			if n != len(flight) || err != nil || h.Stage() != StageDone {
				t.Fatalf("%s: consumed %d of %d, %v", c.name, n, len(flight), err)
			}
			if n, send, err := h.Receive(message); n != 0 || send != nil || err != nil {
				t.Fatalf("after the end: consumed %d, to send %x, %v", n, send, err)
			}
		}
	}
}

func TestConfigLimits(t *testing.T) {
	over := make([]byte, MaxContents+1)
	for name, cfg := range map[string]Config{
		"garbage":        {Garbage: make([]byte, MaxGarbage+1)},
		"version":        {Version: over},
		"first":          {First: [][]byte{nil, over}},
		"decoy":          {Decoys: []int{0, MaxContents + 1}},
		"negative decoy": {Decoys: []int{-1}},
	} {
		for _, initiator := range []bool{true, false} {
			if _, err := NewHandshake(cfg, initiator); err == nil {
				t.Errorf("%s was accepted", name)
			}
		}
	}
	var size *SizeError
	if _, err := NewHandshake(Config{Version: over}, true); !errors.As(err, &size) || size.Contents != MaxContents+1 {
		t.Errorf("got the error %v", err)
	}
	if _, err := NewHandshake(Config{Garbage: make([]byte, MaxGarbage), Version: over[1:], Decoys: []int{MaxContents}}, true); err != nil {
		t.Errorf("the limits themselves: %v", err)
	}
}

func TestWipe(t *testing.T) {
	h := machine(t, Config{Magic: mainnet}, true, fixedKey(t, 0))
	if h.key.scalar == [32]byte{} {
		t.Fatal("there is no key at the start")
	}
	h.Wipe()
	wiped(t, h)
}

func TestStageNames(t *testing.T) {
	seen := map[string]bool{}
	for s := StageKey; s <= StageDone+1; s++ {
		seen[s.String()] = true
	}
	if len(seen) != 5 {
		t.Errorf("the names of the five stages are %v", seen)
	}
}

func BenchmarkHandshake(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		x, _ := NewHandshake(Config{Magic: mainnet}, true)
		y, _ := NewHandshake(Config{Magic: mainnet}, false)
		shake(b, x, y, func() int { return 1 << 30 })
		if x.Stage() != StageDone || y.Stage() != StageDone {
			b.Fatal("not done")
		}
	}
}
