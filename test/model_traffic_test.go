package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"bip324proxy/test/hostile"
)

// traffic is a random stream of messages, determined by the seed, which sender and receiver share.
type traffic struct {
	rng  *rand.Rand
	left int // payload bytes to come
}

// kind is what the proxy does with a message.
type kind int

const (
	good    kind = iota
	dropped      // not translatable
	ended        // end of the stream
)

// pool is the buffer that payloads are slices of.
var pool = randomPayload(77, 8<<20)

// modelNames are message types of both encodings.
var modelNames = func() (names []string) {
	for _, name := range hostile.ShortNames() {
		if name != "" {
			names = append(names, name)
		}
	}
	return append(names, "verack", "sendaddrv2", "wtxidrelay", "twelve-chars", "x")
}()

func newTraffic(seed, stream uint64, bytes int) *traffic {
	return &traffic{rand.New(rand.NewPCG(seed, stream)), bytes}
}

func (g *traffic) next() (m message, k kind) {
	if g.left <= 0 {
		return m, ended
	}
	var n int
	switch p := g.rng.IntN(1000); {
	case p < 880:
		n = g.rng.IntN(600)
	case p < 970:
		n = g.rng.IntN(40_000)
	case p < 996:
		n = g.rng.IntN(600_000)
	case p < 998:
		n = 4_000_000 - g.rng.IntN(3)
	}
	g.left -= n + hostile.HeaderSize
	m = message{modelNames[g.rng.IntN(len(modelNames))], pool[g.rng.IntN(len(pool)-n+1):][:n]}
	if g.rng.IntN(20) == 0 {
		k = dropped
	}
	return m, k
}

// check is the receiver: it reports an error unless the message is the next to be delivered.
func (g *traffic) check(name string, payload []byte) error {
	for {
		switch m, k := g.next(); {
		case k == ended:
			return fmt.Errorf("got %q of %d bytes after the end of the stream", name, len(payload))
		case k == dropped:
		case m.name != name || !bytes.Equal(m.payload, payload):
			return fmt.Errorf("got %q of %d bytes, want %v", name, len(payload), m)
		default:
			return nil
		}
	}
}

// encodeV1 returns a message as a client may encode it.
func encodeV1(m message, k kind, how *rand.Rand) []byte {
	switch {
	case k == good:
		return hostile.V1(m.name, m.payload)
	case how.IntN(2) == 0:
		return hostile.BadChecksum(m.name, m.payload)
	}
	return hostile.V1("x\ny", m.payload)
}

// encodeV2 returns a message as a peer may encode it, perhaps after a decoy.
func encodeV2(e *hostile.End, m message, k kind, how *rand.Rand) (packets []byte) {
	if how.IntN(10) == 0 {
		packets = e.Seal(m.payload[:how.IntN(len(m.payload)+1)], hostile.Decoy)
	}
	contents := hostile.V2(m.name, m.payload)
	switch {
	case k == dropped && how.IntN(2) == 0:
		contents = []byte{}
	case k == dropped:
		contents = append([]byte{byte(38 + how.IntN(256-38))}, m.payload[:min(len(m.payload), 4_000_000)]...)
	case how.IntN(10) == 0:
		contents = hostile.V2Long(m.name, m.payload)
	}
	return append(packets, e.Seal(contents, byte(how.IntN(0x80)))...)
}
