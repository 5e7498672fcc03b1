package test

import (
	"bytes"
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"bip324proxy/test/hostile"

	"github.com/btcsuite/btcd/v2transport"
)

// A man in the middle performs both handshakes. BIP324 cannot prevent that; but the session id in the proxy's log
// differs from the peer's, so comparing them reveals the attack.
func TestManInTheMiddle(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	peerID, middleID := make(chan [32]byte, 1), make(chan [32]byte, 1)
	peer := play(t, func(nc *net.TCPConn) {
		e, err := hostile.Script{}.Shake(nc, false)
		if err != nil {
			t.Error(err)
			return
		}
		peerID <- e.SessionID
		contents, _ := e.Receive()
		e.Send(contents)
	})
	m := meet(t, u, func(nc *net.TCPConn) {
		toProxy, err := hostile.Script{}.Shake(nc, false)
		if err != nil {
			t.Error(err)
			return
		}
		further, err := net.Dial("tcp", peer.addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer further.Close()
		toPeer, err := hostile.Script{}.Shake(further, true)
		if err != nil {
			t.Error(err)
			return
		}
		middleID <- toProxy.SessionID
		contents, _ := toProxy.Receive() // the attacker reads everything
		toPeer.Send(contents)
		contents, _ = toPeer.Receive()
		toProxy.Send(contents)
		hangUp(nc)
	}, nil)
	if err := m.check(outcome{msg: closed, why: whyHungUp, got: []message{version}}); err != nil {
		t.Error(err)
	}
	atPeer, inMiddle := <-peerID, <-middleID
	var logged string
	for _, line := range u.program.out.all() {
		if _, rest, ok := strings.Cut(line, `"session_id":"`); ok {
			logged = rest[:64]
		}
	}
	if logged != hex.EncodeToString(inMiddle[:]) || logged == hex.EncodeToString(atPeer[:]) {
		t.Errorf("got session id %s in the log; the peer has %x, the man in the middle %x", logged, atPeer, inMiddle)
	}
}

// A client that speaks v2 has its session with the peer: both have the same session id, even if the client is slow and
// the peer answers at the first byte.
func TestV2ClientHasItsOwnSession(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	for _, script := range []hostile.Script{{}, {WriteInParts: 1, Garbage: junk[:50]}, {Decoys: make([]int, 100), Version: junk[:40]}} {
		ids := make(chan [32]byte, 1)
		s := play(t, func(nc *net.TCPConn) {
			early := script
			early.KeyAfter = 1
			e, err := early.Shake(nc, false)
			if err != nil {
				t.Error(err)
				close(ids)
				return
			}
			ids <- e.SessionID
			contents, _ := e.Receive()
			e.Send(contents)
		})
		client, err := hostile.Connect(u.addr, s.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		e, err := script.Shake(client, true)
		if err != nil {
			t.Fatal(err)
		}
		e.Send(junk[:1000])
		if got, err := e.Receive(); err != nil || !bytes.Equal(got, junk[:1000]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if id := <-ids; id != e.SessionID {
			t.Errorf("session ids %x and %x differ", id, e.SessionID)
		}
		client.Close()
		if end := u.end(t, client.LocalAddr()); end.Transport != "passthrough" {
			t.Errorf("got %+v, want transport passthrough", end)
		}
		s.over()
	}
	u.requireFreed(t)
}

// countingReader counts the bytes that btcd reads.
type countingReader struct {
	*net.TCPConn
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.n += n
	return n, err
}

// Many handshakes with btcd: the only failures are those that btcd itself causes, one byte below the garbage limit.
func TestHandshakesWithBtcd(t *testing.T) {
	t.Parallel()
	count := 50
	if long {
		count = 1000
	}
	u := startUnder(t)
	each(count, 4, func(i int) {
		largest := false
		m := meet(t, u, func(nc *net.TCPConn) {
			c := &countingReader{TCPConn: nc}
			p := v2transport.NewPeer()
			p.UseReadWriter(c)
			err := p.RespondV2Handshake(i*4095/count, mainnetBtcd)
			if err == nil {
				err = p.CompleteHandshake(false, make([]int, i%3), mainnetBtcd)
			}
			if largest = err != nil && c.n == 64+16+4095; largest {
				return
			}
			contents, err := p.V2ReceivePacket(nil)
			if err != nil || !bytes.Equal(contents, hostile.V2(version.name, version.payload)) {
				t.Errorf("handshake %d: %d bytes, %v", i, len(contents), err)
			}
			p.V2EncPacket(hostile.V2("verack", nil), nil, false)
			hangUp(nc)
		}, nil)
		if largest {
			t.Logf("handshake %d: garbage of 4095 bytes, which is too much for btcd", i)
		} else if err := m.check(outcome{msg: closed, why: whyHungUp, got: []message{{"verack", nil}}}); err != nil {
			t.Errorf("handshake %d: %v", i, err)
		}
	})
	t.Logf("%d handshakes", count)
}

// Key and garbage are new in every session, and garbage takes every length.
func TestKeysAndGarbageAreRandom(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	flights := make(chan []byte, 64)
	each(cap(flights), 8, func(int) {
		meet(t, u, func(nc *net.TCPConn) {
			b := make([]byte, 64+4095)
			n, _ := nc.Read(b) // it is sent in one write
			flights <- b[:n]
		}, nil)
	})
	close(flights)
	seen := map[string]bool{}
	shortest, longest := 4096, 0
	for f := range flights {
		garbage := len(f) - 64
		shortest, longest = min(shortest, garbage), max(longest, garbage)
		for at := 0; at+16 <= min(len(f), 512); at += 16 {
			if block := string(f[at : at+16]); seen[block] {
				t.Errorf("% x occurs twice", block)
			} else {
				seen[block] = true
			}
		}
	}
	// 64 samples out of 4096 leave neither the first nor the last quarter empty, except once in 50 million runs.
	if shortest > 1023 || longest < 3072 {
		t.Errorf("garbage only of %d to %d bytes", shortest, longest)
	}
}
