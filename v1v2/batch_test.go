package v1v2

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"

	"bip324proxy/internal/stream"
)

// lab is a session over pipes in a synctest bubble. synctest.Wait returns when the session has done
// all it can, which shows that it does not wait for more. Both ends record what they receive.
type lab struct {
	*session
	toPeer, toClient *recorder // record the loops' writes
	gate             *gate     // holds the peer's writes

	peerGot   [][]byte // contents
	clientGot []byte
	peerDone  chan struct{} // closed when the peer's end stops reading
}

func newLab(t *testing.T) *lab {
	t.Helper()
	client, clientSide := net.Pipe()
	peerSide, peer := net.Pipe()
	l := &lab{toPeer: &recorder{Conn: peerSide}, toClient: &recorder{Conn: clientSide}, gate: &gate{Conn: peer}, peerDone: make(chan struct{})}
	l.session = start(t, client, l.toClient, l.toPeer, l.gate)
	l.toPeer.writes = nil // without the handshake's
	go func() {
		defer close(l.peerDone)
		for {
			contents, err := l.peer.ReadPacket()
			if err != nil {
				return
			}
			l.peerGot = append(l.peerGot, bytes.Clone(contents))
		}
	}()
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := client.Read(b)
			if err != nil {
				return
			}
			l.clientGot = append(l.clientGot, b[:n]...)
		}
	}()
	return l
}

// write sends b from the client in one piece and waits until the session is blocked.
func (l *lab) write(b []byte) {
	l.client.Write(b)
	synctest.Wait()
}

// must fails the test on an error and waits until the session is blocked.
func (l *lab) must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (l *lab) checkPeerGot(t *testing.T, want [][]byte) {
	t.Helper()
	synctest.Wait()
	if len(l.peerGot) != len(want) {
		t.Errorf("the peer received %d messages, want %d", len(l.peerGot), len(want))
		return
	}
	for i := range want {
		if !bytes.Equal(l.peerGot[i], want[i]) {
			t.Errorf("the peer received %x as message %d, want %x", l.peerGot[i], i, want[i])
		}
	}
}

func (l *lab) checkClientGot(t *testing.T, want []byte) {
	t.Helper()
	synctest.Wait()
	if !bytes.Equal(l.clientGot, want) {
		t.Errorf("the client received %d bytes, want %d", len(l.clientGot), len(want))
	}
}

// recorder records the sizes of writes.
type recorder struct {
	net.Conn
	writes []int
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, len(p))
	return r.Conn.Write(p)
}

// gate holds writes back while it is shut.
type gate struct {
	net.Conn
	shut bool
	held []byte
}

func (g *gate) Write(p []byte) (int, error) {
	if !g.shut {
		return g.Conn.Write(p)
	}
	g.held = append(g.held, p...)
	return len(p), nil
}

// pass lets the first n bytes through, in one write, and waits until the session is blocked.
func (g *gate) pass(t *testing.T, n int) {
	t.Helper()
	if _, err := g.Conn.Write(g.held[:n]); err != nil {
		t.Fatal(err)
	}
	g.held = g.held[n:]
	synctest.Wait()
}

// Messages that arrive in one write leave in one write, with or without dropped ones among them,
// except for those in the small read of an idle session, which are sent at once.
func TestTogether(t *testing.T) {
	inv := testBytes(37, 1)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		var in []byte
		var want [][]byte
		packets := 0
		for i := range 201 { // the last one is not dropped
			in = append(in, v1Bytes(mainnet, "inv", inv)...)
			want = append(want, v2Bytes("inv", inv))
			packets += len(v2Bytes("inv", inv)) + 20
			switch i % 10 {
			case 3:
				in = append(in, badChecksum("inv", inv)...)
			case 9:
				in = append(in, v1Bytes(mainnet, "\x01", nil)...)
			}
		}
		l.write(in)
		l.checkPeerGot(t, want)
		if w := l.toPeer.writes; len(w) != 2 || w[0] > 512 || w[0]+w[1] != packets {
			t.Errorf("to the peer: got writes of %v bytes, want a small one and the rest of %d", w, packets)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.gate.shut = true
		var want []byte
		for i := range 201 { // the last one is not dropped
			l.must(t, l.peer.Queue(v2Bytes("inv", inv)))
			want = append(want, v1Bytes(mainnet, "inv", inv)...)
			switch i % 10 {
			case 3:
				l.must(t, l.peer.WriteDecoy(inv))
			case 9:
				l.must(t, l.peer.Queue([]byte{99}), l.peer.Queue(nil))
			}
		}
		l.must(t, l.peer.Flush())
		l.gate.pass(t, len(l.gate.held))
		l.checkClientGot(t, want)
		if w := l.toClient.writes; len(w) != 2 || w[0] > 600 || w[0]+w[1] != len(want) {
			t.Errorf("to the client: got writes of %v bytes, want a small one and the rest of %d", w, len(want))
		}
	})
}

// A steady stream is sent on in a few writes per buffer, not one per message, and none is larger
// than necessary.
func TestBulk(t *testing.T) {
	const messages = 2000
	inv := testBytes(37, 1)
	v1 := bytes.Repeat(v1Bytes(mainnet, "inv", inv), messages)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.write(v1)
		l.checkPeerGot(t, slices.Repeat([][]byte{v2Bytes("inv", inv)}, messages))
		if n, most := len(l.toPeer.writes), len(v1)/(16<<10)+2; n > most {
			t.Errorf("%d writes to the peer, want at most %d", n, most)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.gate.shut = true
		for range messages {
			l.must(t, l.peer.Queue(v2Bytes("inv", inv)))
		}
		l.must(t, l.peer.Flush())
		n := len(l.gate.held)
		l.gate.pass(t, n)
		l.checkClientGot(t, v1)
		if n, most := len(l.toClient.writes), len(v1)/(16<<10)+n/(16<<10)+2; n > most {
			t.Errorf("%d writes to the client, want at most %d", n, most)
		}
	})
}

// overflow fills the gate with packets that, if passed in one piece, exceed a batch before the
// reader's buffer is empty. It returns what the client must receive.
func (l *lab) overflow(t *testing.T) (want []byte) {
	t.Helper()
	l.gate.shut = true
	tx, ping := testBytes(20_000, 1), testBytes(8, 1)
	l.must(t, l.peer.Queue(v2Bytes("tx", tx)))
	want = v1Bytes(mainnet, "tx", tx)
	for range 600 {
		l.must(t, l.peer.Queue(v2Bytes("ping", ping)))
		want = append(want, v1Bytes(mainnet, "ping", ping)...)
	}
	l.must(t, l.peer.Flush())
	return want
}

func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		want := l.overflow(t)
		l.gate.pass(t, len(l.gate.held))
		l.checkClientGot(t, want)
		if first := l.toClient.writes[1]; first > stream.BatchSize || first <= stream.BatchSize-32 { // after the large one
			t.Errorf("the second write of %v bytes is not a full batch", l.toClient.writes)
		}
	})
}

// cuts returns the offsets at which to cut what follows a message: all, or the interesting ones.
func cuts(size int) (at []int) {
	for n := 1; n < min(size, 70); n++ {
		at = append(at, n)
	}
	for _, n := range []int{1000, 16<<10 - 33, 16<<10 - 32, 16 << 10, 20_000, size - 17, size - 16, size - 1} {
		if n >= 70 && n < size {
			at = append(at, n)
		}
	}
	return at
}

// A message from the client does not wait for what follows it, whatever that is and wherever it is
// cut.
func TestToPeerDoesNotWait(t *testing.T) {
	ping := testBytes(8, 1)
	for _, next := range []struct {
		name string
		raw  []byte
		want []byte // nil: dropped
	}{
		{"empty", v1Bytes(mainnet, "verack", nil), v2Bytes("verack", nil)},
		{"small", v1Bytes(mainnet, "inv", testBytes(37, 1)), v2Bytes("inv", testBytes(37, 1))},
		{"large", v1Bytes(mainnet, "block", testBytes(40_000, 1)), v2Bytes("block", testBytes(40_000, 1))},
		{"bad checksum", badChecksum("inv", testBytes(37, 1)), nil},
		{"large bad checksum", badChecksum("block", testBytes(17_000, 1)), nil},
		{"bad type", v1Bytes(mainnet, "in\nv", testBytes(37, 1)), nil},
	} {
		t.Run(next.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				var want [][]byte
				for _, cut := range append(cuts(len(next.raw)), len(next.raw)) {
					l.write(append(v1Bytes(mainnet, "ping", ping), next.raw[:cut]...))
					want = append(want, v2Bytes("ping", ping))
					if cut == len(next.raw) && next.want != nil {
						want = append(want, next.want)
					}
					l.checkPeerGot(t, want)
					if cut == len(next.raw) {
						break
					}
					l.write(next.raw[cut:])
					if next.want != nil {
						want = append(want, next.want)
					}
					l.checkPeerGot(t, want)
				}
			})
		})
	}
}

// The same applies to messages from the peer, which decoys may follow, too.
func TestToClientDoesNotWait(t *testing.T) {
	ping := testBytes(8, 1)
	for _, next := range []struct {
		name     string
		contents []byte
		decoy    bool
		want     []byte // nil: dropped
	}{
		{"verack", v2Bytes("verack", nil), false, v1Bytes(mainnet, "verack", nil)},
		{"small", v2Bytes("inv", testBytes(37, 1)), false, v1Bytes(mainnet, "inv", testBytes(37, 1))},
		{"large", v2Bytes("block", testBytes(40_000, 1)), false, v1Bytes(mainnet, "block", testBytes(40_000, 1))},
		{"decoy", testBytes(37, 1), true, nil},
		{"empty decoy", nil, true, nil},
		{"large decoy", testBytes(40_000, 1), true, nil},
		{"empty", nil, false, nil},
		{"unknown id", []byte{99, 1, 2, 3}, false, nil},
		{"large unknown id", append([]byte{99}, testBytes(20_000, 1)...), false, nil},
		{"short long form", []byte("\x00verack"), false, nil},
	} {
		t.Run(next.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.gate.shut = true
				var want []byte
				size := len(next.contents) + 20
				for _, cut := range append(cuts(size), size) {
					l.must(t, l.peer.WritePacket(v2Bytes("ping", ping)))
					if next.decoy {
						l.must(t, l.peer.WriteDecoy(next.contents))
					} else {
						l.must(t, l.peer.WritePacket(next.contents))
					}
					want = append(want, v1Bytes(mainnet, "ping", ping)...)
					l.gate.pass(t, len(l.gate.held)-size+cut)
					if cut == size {
						want = append(want, next.want...)
						l.checkClientGot(t, want)
						break
					}
					l.checkClientGot(t, want)
					want = append(want, next.want...)
					l.gate.pass(t, len(l.gate.held))
					l.checkClientGot(t, want)
				}
			})
		})
	}
}
