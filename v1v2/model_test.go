package v1v2

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"testing"
)

// For a longer run: go test -run Model . -model 1000000000
var modelBytes = flag.Int64("model", 64<<20, "payload bytes that TestModel sends, both ways together")

// traffic is a random stream of messages, determined by the seed. Sender and receiver have equal
// ones.
type traffic struct {
	rng   *mrand.Rand
	names []string
	pool  []byte // payloads are slices of it
	left  int64
}

// kind is the outcome for a message.
type kind int

const (
	good    kind = iota
	dropped      // not translated
	ended        // no more messages
)

func newTraffic(seed uint64, pool []byte) *traffic {
	var names []string // in a fixed order
	names = append(append(names, bipTable[1:]...), longNames...)
	return &traffic{mrand.New(mrand.NewPCG(seed, seed)), names, pool, *modelBytes / 2}
}

func (g *traffic) next() (m message, k kind) {
	if g.left <= 0 {
		return m, ended
	}
	var n int
	switch p := g.rng.IntN(1000); {
	case p < 900:
		n = g.rng.IntN(600)
	case p < 980:
		n = g.rng.IntN(40_000)
	case p < 998:
		n = g.rng.IntN(600_000)
	case p < 999:
		n = MaxPayload - g.rng.IntN(3)
	}
	g.left -= int64(n) + 24
	at := g.rng.IntN(len(g.pool) - n + 1)
	m = message{g.names[g.rng.IntN(len(g.names))], g.pool[at:][:n]}
	if g.rng.IntN(20) == 0 {
		k = dropped
	}
	return m, k
}

// good returns the next message that is translated, and the number of dropped ones before it.
func (g *traffic) good() (m message, before uint64, ok bool) {
	for {
		m, k := g.next()
		switch k {
		case good:
			return m, before, true
		case ended:
			return m, before, false
		}
		before++
	}
}

// Random messages in random pieces, in both directions at once, arrive as they were sent.
func TestModel(t *testing.T) {
	pool := testBytes(8<<20, 1)
	s := overTCP(t)
	work := []func() error{
		func() error { return sendV1(s, newTraffic(1, pool)) },
		func() error { return sendV2(s, newTraffic(2, pool)) },
		func() error { return receiveV2(s, newTraffic(1, pool)) },
		func() error { return receiveV1(s, newTraffic(2, pool)) },
	}
	done := make(chan error)
	for _, do := range work {
		go func() { done <- do() }()
	}
	for range work {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		return
	}
	checkEnded(t, <-s.upEnded, ClientSide, is(io.EOF))
	checkEnded(t, <-s.downEnded, PeerSide, is(io.EOF))
	for seed, counts := range map[uint64]*Counts{1: &s.up, 2: &s.down} {
		var want counted
		for g := newTraffic(seed, pool); ; {
			m, before, ok := g.good()
			want.dropped += before
			if !ok {
				break
			}
			want.messages++
			want.bytes += uint64(24 + len(m.payload))
		}
		if got := counts.load(); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		t.Logf("%+v", want)
	}
}

// sendV1 is the client: it sends messages joined and cut at random.
func sendV1(s *session, g *traffic) error {
	how := mrand.New(mrand.NewPCG(3, 3))
	var waiting []byte
	for {
		m, k := g.next()
		switch {
		case k == ended:
			if _, err := s.client.Write(waiting); err != nil {
				return err
			}
			return s.client.(interface{ CloseWrite() error }).CloseWrite()
		case k == good:
			waiting = append(waiting, v1Bytes(mainnet, m.name, m.payload)...)
		case len(m.payload) > 0 && how.IntN(2) == 0:
			waiting = append(waiting, badChecksum(m.name, m.payload)...)
		default:
			waiting = append(waiting, v1Bytes(mainnet, "x\ny", m.payload)...)
		}
		for len(waiting) > 0 && how.IntN(3) > 0 {
			n := min(len(waiting), 1+how.IntN(1<<how.IntN(20)))
			if _, err := s.client.Write(waiting[:n]); err != nil {
				return err
			}
			waiting = waiting[n:]
		}
	}
}

// sendV2 is the peer: it sends messages in either form, decoys, and invalid messages.
func sendV2(s *session, g *traffic) error {
	how := mrand.New(mrand.NewPCG(4, 4))
	for {
		m, k := g.next()
		contents := v2Bytes(m.name, m.payload)
		switch {
		case k == ended:
			return s.peer.CloseWrite()
		case k == dropped:
			contents[0] = byte(38 + how.IntN(256-38))
		case how.IntN(10) == 0:
			contents = append([]byte("\x00"+padded(m.name)), m.payload...)
		}
		err := s.peer.Queue(contents)
		switch how.IntN(10) {
		case 0:
			err = errors.Join(err, s.peer.WriteDecoy(m.payload[:how.IntN(len(m.payload)+1)]))
		case 1, 2, 3:
			err = errors.Join(err, s.peer.Flush())
		}
		if err != nil {
			return err
		}
	}
}

func receiveV2(s *session, g *traffic) error {
	for i := 0; ; i++ {
		m, _, ok := g.good()
		if !ok {
			return nil // the counts show that nothing else was sent
		}
		got, err := s.peer.ReadPacket()
		if err != nil || !bytes.Equal(got, v2Bytes(m.name, m.payload)) {
			return fmt.Errorf("the peer, message %d, %q of %d bytes: %d bytes, %v", i, m.name, len(m.payload), len(got), err)
		}
	}
}

func receiveV1(s *session, g *traffic) error {
	buf := make([]byte, 24+MaxPayload)
	for i := 0; ; i++ {
		m, _, ok := g.good()
		if !ok {
			return nil
		}
		want := v1Bytes(mainnet, m.name, m.payload)
		got := buf[:len(want)]
		if _, err := io.ReadFull(s.client, got); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("the client, message %d, %q of %d bytes: %x…, %v", i, m.name, len(m.payload), got[:24], err)
		}
	}
}
