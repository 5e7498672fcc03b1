package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/test/hostile"
	"bip324proxy/transport"
)

// peerCase is one behaviour of a peer, and what the client must see of it.
type peerCase struct {
	name   string
	script hostile.Script
	sends  []message            // once the handshake is complete
	then   func(e *hostile.End) // after those; the peer then hangs up
	want   outcome
}

const (
	refused = "session refused"
	closed  = "session closed"
)

// The logged reasons, by class of failure.
const (
	whyNoTerminator = "no garbage terminator in 4111 bytes"
	whyAltered      = "packet authentication failed"
	whyWaitsKey     = "v2 handshake failed waiting for the peer's key"
	whyWaitsGarbage = "v2 handshake failed waiting for the peer's garbage terminator"
	whyWaitsVersion = "v2 handshake failed waiting for the peer's version packet"
	whyHungUp       = "the peer closed the connection"
	whyCut          = "the peer closed the connection within a message"
)

func whyTooLarge(n int) string {
	return fmt.Sprintf("packet contents of %d bytes, over the limit of 4000013", n)
}

var (
	three = numbered(3)
	fine  = outcome{msg: closed, why: whyHungUp, got: three}
	junk  = randomPayload(99, 9000)
)

func refusal(why string) outcome { return outcome{msg: refused, why: why} }

// peerCases breaks every rule of BIP324, and uses every freedom that it gives a peer.
func peerCases() []peerCase {
	return slices.Concat(garbageCases(), firstPacketCases(), keyCases(), packetCases(), contentsCases())
}

// garbageCases has the cases of garbage and its terminator.
func garbageCases() (all []peerCase) {
	for _, n := range []int{0, 1, 63, 64, 4093, 4094, 4095} {
		for _, part := range []int{0, 1} {
			all = append(all, peerCase{name: fmt.Sprintf("garbage of %d bytes, %d per write", n, part),
				script: hostile.Script{Garbage: randomPayload(5, n), WriteInParts: part}, sends: three, want: fine})
		}
	}
	for _, part := range []int{0, 1} {
		all = append(all, peerCase{name: fmt.Sprintf("garbage of 4096 bytes, %d per write", part),
			script: hostile.Script{Garbage: randomPayload(5, 4096), WriteInParts: part},
			want:   refusal(fmt.Sprintf("%d received): %s", 64+4095+16, whyNoTerminator))})
	}
	for offset := range 16 {
		for _, behind := range []int{0, 1, 16} {
			all = append(all, peerCase{name: fmt.Sprintf("15 bytes of the terminator at %d, %d behind", offset, behind),
				script: hostile.Script{WriteInParts: offset % 2, GarbageFrom: func(terminator [16]byte) []byte {
					n := behind
					if terminator[0] == terminator[15] {
						n = max(n, 1) // or the next bytes could complete the terminator
					}
					return slices.Concat(junk[:offset], terminator[:15], bytes.Repeat([]byte{^terminator[15]}, n))
				}}, sends: three, want: fine})
		}
	}
	for n := 1; n < 12; n++ {
		all = append(all, peerCase{name: fmt.Sprintf("the terminator's first %d bytes again and again", n),
			script: hostile.Script{GarbageFrom: func(terminator [16]byte) []byte {
				return bytes.Repeat(terminator[:n], hostile.MaxGarbage/n)
			}}, sends: three, want: fine})
	}
	for bit := 1; bit <= 128; bit++ {
		all = append(all, peerCase{name: fmt.Sprintf("terminator with bit %d wrong", bit),
			script: hostile.Script{FlipBit: bit, Filler: junk}, want: refusal(whyNoTerminator)})
	}
	return append(all,
		peerCase{name: "no terminator, then silence and the end", script: hostile.Script{Terminator: []byte{}}, want: refusal(whyWaitsGarbage)},
		peerCase{name: "the other direction's terminator", script: hostile.Script{SwapTerms: true, Filler: junk}, want: refusal(whyNoTerminator)},
		peerCase{name: "garbage altered on its way", script: hostile.Script{Garbage: junk[:200], FlipGarbage: 777}, want: refusal(whyAltered)},
	)
}

// firstPacketCases has the cases of decoys, the version packet, and the authentication of the garbage.
func firstPacketCases() (all []peerCase) {
	add := func(name string, script hostile.Script, want outcome) {
		script.Garbage = junk[:100]
		c := peerCase{name: name, script: script, want: want}
		if want.msg == closed {
			c.sends = three
		}
		all = append(all, c)
	}
	for name, decoys := range map[string][]int{
		"one decoy": {0}, "10,000 decoys": make([]int, 10_000), "decoys of many sizes": {0, 1, 16, 300, 16_384, 65_536, 1_000_000},
		"decoys of the largest size": {4_000_013, 4_000_013}, "one more than a key is good for": make([]int, 224),
	} {
		add(name, hostile.Script{Decoys: decoys}, fine)
	}
	for _, n := range []int{0, 5, 4096, 4_000_013} {
		add(fmt.Sprintf("version packet of %d bytes", n), hostile.Script{Version: make([]byte, n)}, fine)
	}
	add("reserved bits in every header", hostile.Script{HeaderBits: 0x7f, Decoys: []int{3}}, fine)
	add("decoy over the limit", hostile.Script{Decoys: []int{4_000_014}}, refusal(whyTooLarge(4_000_014)))
	add("version packet over the limit", hostile.Script{Version: make([]byte, 4_000_014)}, refusal(whyTooLarge(4_000_014)))
	add("decoys only", hostile.Script{Decoys: make([]int, 300), NoVersion: true}, refusal(whyWaitsVersion))
	add("terminator only", hostile.Script{NoVersion: true}, refusal(whyWaitsVersion))

	aad := func(f func(n int, garbage []byte) []byte) hostile.Script { return hostile.Script{AAD: f} }
	none := func(int, []byte) []byte { return nil }
	on := func(which ...int) func(int, []byte) []byte {
		return func(n int, garbage []byte) []byte {
			if slices.Contains(which, n) {
				return garbage
			}
			return nil
		}
	}
	withDecoy := func(s hostile.Script) hostile.Script { s.Decoys = []int{7}; return s }
	add("garbage on the first decoy", withDecoy(aad(on(0))), fine)
	add("garbage not authenticated", aad(none), refusal(whyAltered))
	add("garbage authenticated by the second packet", withDecoy(aad(on(1))), refusal(whyAltered))
	add("garbage authenticated twice", withDecoy(aad(on(0, 1))), refusal(whyAltered))
	add("garbage authenticated by the version packet and by a message", aad(on(0, 1)), outcome{msg: closed, why: whyAltered})
	add("other garbage authenticated", aad(func(_ int, garbage []byte) []byte { return append(bytes.Clone(garbage), 0) }), refusal(whyAltered))
	add("garbage and terminator authenticated", aad(func(_ int, garbage []byte) []byte { return garbage[:99] }), refusal(whyAltered))
	return all
}

// keyCases has the cases of valid and invalid keys, and of networks.
func keyCases() (all []peerCase) {
	var ones [64]byte
	for i := range ones {
		ones[i] = 0xff
	}
	var u0, t0 [64]byte
	copy(u0[32:], junk)
	copy(t0[:32], junk)
	for name, key := range map[string]*[64]byte{"0": {}, "above the field": &ones, "of u = 0": &u0, "of t = 0": &t0} {
		all = append(all, peerCase{name: "key " + name, script: hostile.Script{Key: key, Filler: junk}, want: refusal(whyNoTerminator)})
	}
	return append(all,
		peerCase{name: "our key reflected", script: hostile.Script{ReflectKey: true, Filler: junk}, want: refusal(whyNoTerminator)},
		peerCase{name: "another network", script: hostile.Script{Magic: [4]byte{0x0a, 0x03, 0xcf, 0x40}, Filler: junk}, want: refusal(whyNoTerminator)},
		peerCase{name: "keys of the other direction", script: hostile.Script{SwapKeys: true, Filler: junk}, want: refusal("v2 handshake failed waiting for the peer's version packet")},
		peerCase{name: "key before ours", script: hostile.Script{KeyFirst: true, Garbage: junk[:99]}, sends: three, want: fine},
		peerCase{name: "key after the first byte of ours", script: hostile.Script{KeyAfter: 1}, sends: three, want: fine},
		peerCase{name: "key after 16 bytes of ours", script: hostile.Script{KeyAfter: 16}, sends: three, want: fine},
	)
}

// packetCases has packets altered after they were sealed, after the handshake. The messages before them are delivered.
func packetCases() (all []peerCase) {
	const first = 1 // packet of a message; 0 is the version packet
	var kept []byte
	keep := func(p []byte) []byte { kept = bytes.Clone(p); return nil }
	add := func(name string, mangle func(n int, p []byte) []byte, delivered int, why string) {
		all = append(all, peerCase{name: name, script: hostile.Script{Mangle: mangle}, sends: three,
			want: outcome{msg: closed, why: why, got: three[:delivered]}})
	}
	at := func(k int, f func(p []byte) []byte) func(int, []byte) []byte {
		return func(n int, p []byte) []byte {
			if n == k {
				return f(p)
			}
			return p
		}
	}
	add("first packet dropped", at(first, func([]byte) []byte { return nil }), 0, "the peer")
	add("second packet dropped", at(first+1, func([]byte) []byte { return nil }), 1, "the peer")
	add("packet sent twice", at(first+1, func(p []byte) []byte { return append(p, p...) }), 2, "the peer")
	add("two packets swapped", func(n int, p []byte) []byte {
		switch n {
		case first:
			return keep(p)
		case first + 1:
			return append(p, kept...)
		}
		return p
	}, 0, "the peer")
	add("tag altered", at(first+1, func(p []byte) []byte { p[len(p)-1] ^= 1; return p }), 1, whyAltered)
	add("contents altered", at(first+1, func(p []byte) []byte { p[5] ^= 1; return p }), 1, whyAltered)
	add("message made a decoy", at(first+1, func(p []byte) []byte { p[3] ^= hostile.Decoy; return p }), 1, whyAltered)
	// Not the last byte: once in 256 times the next packet begins with the same byte.
	add("packet shortened", at(first+1, func(p []byte) []byte { return append(p[:4:4], p[5:]...) }), 1, "the peer")
	add("packet lengthened", at(first+1, func(p []byte) []byte { return append(p, 0) }), 2, "the peer")
	add("last packet cut off", at(first+2, func(p []byte) []byte { return p[:len(p)-1] }), 2, whyCut)
	add("last packet cut off in its length", at(first+2, func(p []byte) []byte { return p[:2] }), 2, whyCut)

	for _, n := range []int{4_000_014, 1<<24 - 1} {
		all = append(all, peerCase{name: fmt.Sprintf("promise of %d bytes", n), sends: three,
			then: func(e *hostile.End) { e.Write(e.SealLength(n)) },
			want: outcome{msg: closed, why: whyTooLarge(n), got: three}})
	}
	return append(all,
		peerCase{name: "our packet reflected", sends: three, then: func(e *hostile.End) { e.Write(e.Last) },
			want: outcome{msg: closed, why: "the peer", got: three}},
		peerCase{name: "junk behind the messages", sends: three, then: func(e *hostile.End) { e.Write(junk) },
			want: outcome{msg: closed, why: "the peer", got: three}},
	)
}

// contentsCases has invalid and rare message encodings.
func contentsCases() (all []peerCase) {
	bad := [][]byte{{}}
	for id, name := range hostile.ShortNames() {
		if id > 0 && name == "" && (id < 29 || id > 36) { // BIP183's ids
			bad = append(bad, []byte{byte(id)}, append([]byte{byte(id)}, junk[:50]...))
		}
	}
	for n := range 13 {
		bad = append(bad, make([]byte, n))
	}
	for _, name := range []string{"a\nb", "caf\xe9", "a\x00b", "\x00version", "ping\x00\x00\x00\x00\x00\x00\x00x", "\x1f"} {
		bad = append(bad, hostile.V2Long(name, junk[:8]))
	}
	all = append(all, peerCase{name: "what is no message is dropped", then: func(e *hostile.End) {
		for i, contents := range bad {
			e.Send(contents)
			m := numbered(len(bad))[i]
			e.Send(hostile.V2(m.name, m.payload))
		}
	}, want: outcome{msg: closed, why: whyHungUp, got: numbered(len(bad)), dropped: int64(len(bad))}})

	var every []message
	for _, name := range hostile.ShortNames() {
		if name != "" {
			every = append(every, message{name, junk[:70]}, message{name, nil})
		}
	}
	var utreexo []message
	for i, name := range []string{"uproof", "getuproof", "uttls", "getuttls", "usummary", "utreexotx", "uroot", "geturoot"} {
		utreexo = append(utreexo, message{name, junk[:10*i]})
	}
	every = append(every, message{"feature", junk[:3]}, message{"verack", nil}, message{"sendtxrcncl", nil}, message{"twelve-chars", junk[:1]})
	all = append(all,
		peerCase{name: "all short ids", sends: every, want: outcome{msg: closed, why: whyHungUp, got: every}},
		peerCase{name: "all in long form", then: func(e *hostile.End) {
			for _, m := range every {
				e.Send(hostile.V2Long(m.name, m.payload))
			}
		}, want: outcome{msg: closed, why: whyHungUp, got: every}},
		peerCase{name: "BIP183's ids", then: func(e *hostile.End) {
			for i, m := range utreexo {
				e.Send(append([]byte{byte(29 + i)}, m.payload...))
			}
		}, want: outcome{msg: closed, why: whyHungUp, got: utreexo}},
		peerCase{name: "999 decoys between messages", then: func(e *hostile.End) {
			for _, m := range three {
				for i := range 333 {
					e.SendDecoy(junk[:i])
				}
				e.Send(hostile.V2(m.name, m.payload))
			}
		}, want: fine})
	for _, n := range []int{222, 223, 224, 225, 448, 10_000} { // after the version packet
		all = append(all, peerCase{name: fmt.Sprintf("%d messages", n), sends: numbered(n),
			want: outcome{msg: closed, why: whyHungUp, got: numbered(n)}})
	}
	large := message{"block", randomPayload(3, 4_000_000)}
	return append(all,
		peerCase{name: "contents of the largest size", then: func(e *hostile.End) { e.Send(hostile.V2Long(large.name, large.payload)) },
			want: outcome{msg: closed, why: whyHungUp, got: []message{large}}},
		peerCase{name: "a payload that v1 cannot say", sends: three, then: func(e *hostile.End) {
			e.Send(hostile.V2("block", append(large.payload[:len(large.payload):len(large.payload)], 1)))
		}, want: outcome{msg: closed, why: `message "block" of 4000001 bytes`, got: three}},
		peerCase{name: "contents over the limit by one", sends: three, then: func(e *hostile.End) {
			e.Send(hostile.V2Long("block", append(large.payload[:len(large.payload):len(large.payload)], 1)))
		}, want: outcome{msg: closed, why: whyTooLarge(4_000_014), got: three}},
	)
}

// play plays the peer of a case. It calls fail for each fault of the proxy.
func (c peerCase) play(fail func(format string, args ...any)) func(nc *net.TCPConn) {
	return func(nc *net.TCPConn) {
		e, err := c.script.Speak(nc, false)
		if err == nil && c.want.msg == closed {
			err = e.ReadFlight()
			if first, err := e.Receive(); err != nil || !bytes.Equal(first, hostile.V2(version.name, version.payload)) {
				fail("%s: the peer got %d bytes instead of the client's VERSION, %v", c.name, len(first), err)
			}
			for _, m := range c.sends {
				e.Send(hostile.V2(m.name, m.payload))
			}
			if c.then != nil {
				c.then(e)
			}
		}
		if err != nil && c.want.msg == closed {
			fail("%s: handshake: %v", c.name, err)
		}
		nc.CloseWrite()
		if endOf(nc) == open {
			fail("%s: the proxy keeps the connection to the peer", c.name)
		}
	}
}

// Every hostile peer against the program as users run it. It makes no difference whether v1 is allowed: each such peer
// has answered, so it is not dialled a second time.
func TestHostilePeer(t *testing.T) {
	for _, fallback := range []string{"never", "always"} {
		t.Run(fallback, func(t *testing.T) {
			t.Parallel()
			u := startUnder(t, "--v1-fallback", fallback)
			cases := peerCases()
			each(len(cases), 8, func(i int) {
				c := cases[i]
				if err := meet(t, u, c.play(t.Errorf), nil).check(c.want); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			})
			t.Logf("%d cases", len(cases))
			u.requireFreed(t)
		})
	}
}

// The same violations by an initiator, against transport.Server, which the program does not use.
func TestHostileInitiator(t *testing.T) {
	t.Parallel()
	cases := slices.DeleteFunc(peerCases(), func(c peerCase) bool {
		return c.script.GarbageFrom != nil || c.script.KeyFirst || c.script.KeyAfter > 0 || c.script.ReflectKey || c.then != nil
	})
	each(len(cases), 8, func(i int) {
		c := cases[i]
		got, err := respondTo(t, c)
		switch c.want.why {
		case whyHungUp:
			if err != io.EOF {
				t.Errorf("%s: got %v, want EOF", c.name, err)
			}
		case whyCut, "the peer": // any error will do
		default:
			if !strings.Contains(err.Error(), c.want.why) {
				t.Errorf("%s: got %v, want %s", c.name, err, c.want.why)
			}
		}
		if err := same(got, c.want.got); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	})
	t.Logf("%d cases", len(cases))
}

// respondTo lets the initiator of a case connect to transport.Server, and returns what the server read and why it
// stopped.
func respondTo(t *testing.T, c peerCase) (got []message, end error) {
	s := play(t, func(nc *net.TCPConn) {
		if e, err := c.script.Speak(nc, true); err == nil {
			for _, m := range c.sends {
				e.Send(hostile.V2(m.name, m.payload))
			}
		}
		hangUp(nc)
	})
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.over()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := transport.Server(ctx, nc, transport.Config{Magic: mainnetMagic, ReadTimeout: time.Minute})
	if err != nil {
		return nil, err
	}
	for i := 0; ; i++ {
		contents, err := conn.ReadPacket()
		if err != nil {
			return got, err
		}
		if i < len(c.want.got) && bytes.Equal(contents, hostile.V2(c.want.got[i].name, c.want.got[i].payload)) {
			got = append(got, c.want.got[i])
		} else {
			got = append(got, message{"what was not sent", bytes.Clone(contents)})
		}
	}
}
