package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/transport"
)

// pipePeer plays the other end of a connection in a bubble.
type pipePeer func(nc net.Conn)

// hangsUpAfter reads the key and hangs up after d.
func hangsUpAfter(d time.Duration) pipePeer {
	return func(nc net.Conn) {
		io.ReadFull(nc, make([]byte, transport.KeySize))
		time.Sleep(d)
		nc.Close()
	}
}

func answersV2(nc net.Conn) {
	transport.Server(context.Background(), nc, transport.Config{Magic: mainnet, Garbage: []byte{}})
	io.Copy(io.Discard, nc)
}

func saysNothing(nc net.Conn) { io.Copy(io.Discard, nc) }

// The table has the time of the second v2 handshake, and the result of each way that it may end.
func TestRetry(t *testing.T) {
	left := errors.New("the client left")
	for _, c := range []struct {
		name     string
		first    pipePeer
		second   pipePeer
		fallback Mode
		leaves   time.Duration // the caller's context ends then, unless 0
		provenAt time.Duration // another session proves the peer v2, unless 0

		from, to time.Duration // of the second dial; 0: none
		dials    int           // after the first
		v2, v1   bool
	}{
		{name: "hung up, then v2", first: hangsUpAfter(0), second: answersV2, from: time.Second, to: 2 * time.Second, dials: 1, v2: true},
		{name: "hung up twice", first: hangsUpAfter(0), second: hangsUpAfter(0), from: time.Second, to: 2 * time.Second, dials: 2, v1: true},
		{name: "hung up, then silent", first: hangsUpAfter(0), second: saysNothing, from: time.Second, to: 2 * time.Second, dials: 2, v1: true},
		{name: "hung up after a while", first: hangsUpAfter(1500 * time.Millisecond), second: answersV2,
			from: 2500 * time.Millisecond, to: retryWithin, dials: 1, v2: true},
		{name: "hung up late", first: hangsUpAfter(2900 * time.Millisecond), second: hangsUpAfter(0),
			from: retryWithin, to: retryWithin + 1, dials: 2, v1: true},
		{name: "silent", first: saysNothing, second: answersV2, from: 3 * time.Second, to: 3*time.Second + 1, dials: 1, v1: true},
		{name: "strict", first: hangsUpAfter(0), second: answersV2, fallback: Never},
		{name: "the client leaves", first: hangsUpAfter(0), second: answersV2, leaves: 500 * time.Millisecond},
		{name: "the client leaves before", first: hangsUpAfter(time.Second), second: answersV2, leaves: 500 * time.Millisecond},
		{name: "proven in the meantime", first: hangsUpAfter(0), second: hangsUpAfter(0), provenAt: 500 * time.Millisecond,
			from: time.Second, to: 2 * time.Second, dials: 1},
		{name: "proven before", first: hangsUpAfter(time.Second), second: answersV2, provenAt: 500 * time.Millisecond},
	} {
		for range 10 { // the delay is random
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.leaves > 0 {
					time.AfterFunc(c.leaves, func() { cancel(left) })
				}
				var ends []net.Conn
				connect := func(peer pipePeer) net.Conn {
					ours, theirs := net.Pipe()
					go peer(theirs)
					ends = append(ends, ours, theirs)
					return ours
				}
				var dialled []time.Duration
				d := &Dialer{Mode: c.fallback, Peers: new(Peers), Direct: true}
				if c.name != "strict" {
					d.Mode = Always
				}
				d.Dial = func(context.Context, string, string) (net.Conn, error) {
					if dialled = append(dialled, time.Since(began)); len(dialled) == 1 {
						return connect(c.second), nil
					}
					return connect(saysNothing), nil
				}
				if c.provenAt > 0 {
					time.AfterFunc(c.provenAt, func() { d.Peers.Note(somePeer, SpeaksV2) })
				}
				link, err := d.Upgrade(ctx, connect(c.first), somePeer, transport.Config{Magic: mainnet, Garbage: []byte{}})
				if (link.V2 != nil) != c.v2 || (link.V1 != nil) != c.v1 || (err == nil) != (c.v1 || c.v2) || len(dialled) != c.dials {
					t.Errorf("%s: got %+v, %v, dialled at %v", c.name, link, err, dialled)
				} else if c.dials > 0 && (dialled[0] < c.from || dialled[0] >= c.to) {
					t.Errorf("%s: dialled after %v, want from %v to %v", c.name, dialled[0], c.from, c.to)
				}
				if c.leaves > 0 && !errors.Is(err, left) {
					t.Errorf("%s: got %v, want the context's cause", c.name, err)
				}
				if got := d.Peers.Lookup(somePeer); c.v2 && got != SpeaksV2 {
					t.Errorf("%s: known as %v", c.name, got)
				}
				for _, nc := range ends {
					nc.Close()
				}
				time.Sleep(time.Minute) // for the peers to end
			})
		}
	}
}

// If the connection for the second handshake cannot be made, no other is tried.
func TestNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unreachable := errors.New("unreachable")
		dials := 0
		d := &Dialer{Mode: Always, Dial: func(context.Context, string, string) (net.Conn, error) {
			dials++
			return nil, unreachable
		}}
		ours, theirs := net.Pipe()
		go hangsUpAfter(0)(theirs)
		link, err := d.Upgrade(t.Context(), ours, somePeer, transport.Config{Magic: mainnet, Garbage: []byte{}})
		var redial *RedialError
		if !errors.As(err, &redial) || redial.Err != unreachable || !hungUp(redial.First) || dials != 1 || link != (Link{}) {
			t.Errorf("got %+v, %v, %d dials", link, err, dials)
		}
	})
}
