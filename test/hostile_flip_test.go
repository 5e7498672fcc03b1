package test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

const flipBytes = 2048 // of each direction

// flipBits returns the bits to flip, one per session: all of them in the long form, else one of each of the first
// handshake bytes and every 61st after them, so that all eight bits of a byte occur.
func flipBits(handshake int) (bits []int) {
	step := func(bit int) int {
		switch {
		case long:
			return 1
		case bit < 8*handshake:
			return 9 - bit%8/7*8 // the next bit of the next byte
		}
		return 61
	}
	for bit := 0; bit < 8*flipBytes; bit += step(bit) {
		bits = append(bits, bit)
	}
	return bits
}

// flipMessages are packets that fill the rest of the first 2 kB after a handshake.
var flipMessages = numbered(20)

// Flip every bit of the first 2 kB to the proxy: data before it is delivered, nothing after it is, and the client's
// connection ends.
func TestFlippedBitsToTheProxy(t *testing.T) {
	t.Parallel()
	unders := []*under{startUnder(t), startUnder(t, "--v1-fallback", "always")} // the second must not fall back
	const garbage = 100
	handshake := 64 + garbage + 16 + 20
	ends := []int{} // of the packets, in the peer's stream
	for at, i := handshake, 0; i < len(flipMessages); i++ {
		at += 3 + 1 + len(hostile.V2(flipMessages[i].name, flipMessages[i].payload)) + 16
		ends = append(ends, at)
	}
	if total := ends[len(ends)-1]; total < flipBytes {
		t.Fatalf("only %d bytes", total)
	}
	bits := flipBits(handshake)
	each(len(bits), 32, func(i int) {
		bit := bits[i]
		m := meetPrompt(t, unders[i%2], func(nc *net.TCPConn) {
			w := hostile.NewWire(nc)
			w.FlipWritten = int64(bit)
			e, err := hostile.Script{Garbage: junk[:garbage]}.Speak(w, false)
			for _, m := range flipMessages {
				if err == nil {
					err = e.Send(hostile.V2(m.name, m.payload))
				}
			}
			nc.CloseWrite()
			drainNoPlaintext(t, nc)
		})
		want := outcome{msg: refused, why: "v2 handshake failed"}
		if bit/8 >= handshake {
			n := 0
			for ends[n] <= bit/8 {
				n++
			}
			want = outcome{msg: closed, why: "the peer", got: flipMessages[:n]}
		} else if m.log.Msg == closed { // no session: the version packet was invalid
			want.why = "a refusal"
		}
		m.dials = max(m.dials, 1)
		if err := m.check(want); err != nil {
			t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	})
	t.Logf("%d sessions", len(bits))
	for _, u := range unders {
		u.requireFreed(t)
	}
}

// Flip every bit of the first 2 kB to the peer: an independent implementation notices, and the session ends.
func TestFlippedBitsToThePeer(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	bits := flipBits(64)
	var undone sync.Map // sessions shorter than the bit's offset
	each(len(bits), 32, func(i int) {
		bit := bits[i]
		got := []message{}
		m := meet(t, u, func(nc *net.TCPConn) {
			w := hostile.NewWire(nc)
			w.FlipRead = int64(bit)
			e, err := hostile.Script{}.Speak(w, false)
			nc.SetReadDeadline(time.Now().Add(time.Second)) // a flipped length may announce bytes that never come
			if err == nil {
				err = e.ReadFlight()
			}
			for err == nil {
				var contents []byte
				if contents, err = e.Receive(); err == nil {
					name, payload := decode(contents)
					got = append(got, message{name, payload})
				}
			}
			if err == io.EOF && w.Got*8 <= int64(bit) {
				undone.Store(i, true)
			} else if err == io.EOF {
				t.Errorf("bit %d of byte %d: the peer did not notice the flipped bit", bit%8, bit/8)
			}
		}, append(append([]byte{}, hello...), v1(flipMessages...)...))
		sent := append([]message{version}, flipMessages...)
		if err := same(got, sent[:min(len(got), len(sent))]); err != nil {
			t.Errorf("bit %d of byte %d: the peer: %v", bit%8, bit/8, err)
		}
		if len(m.got) > 0 || m.end == open {
			t.Errorf("bit %d of byte %d: the client got %d messages, then %v", bit%8, bit/8, len(m.got), m.end)
		}
		if m.log.Msg != refused && m.log.Msg != closed {
			t.Errorf("bit %d of byte %d: unexpected end %s", bit%8, bit/8, fmt.Sprint(m.log))
		}
	})
	n := 0
	undone.Range(func(any, any) bool { n++; return true })
	t.Logf("%d sessions, %d of them too short", len(bits), n)
	u.requireFreed(t)
}
