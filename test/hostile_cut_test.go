package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bip324proxy/transport/fallback"

	product "bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/test/hostile"
)

// cut is a way for an end to stop in the middle.
type cut struct {
	name string
	do   func(nc *net.TCPConn)
}

var (
	cutReset = cut{"RST", reset}
	cutClose = cut{"FIN of both directions", func(nc *net.TCPConn) { nc.Close() }}
	cutHalf  = cut{"FIN of one direction", hangUp}
	cutStall = cut{"stall", func(nc *net.TCPConn) { io.Copy(io.Discard, nc) }}
)

const (
	cutGarbage = 30
	cutKey     = 64
	cutHello   = cutKey + cutGarbage + 16
	cutFlight  = cutHello + 20
)

// whyCutAfter returns the logged reason for a peer that closed after k bytes of its flight.
func whyCutAfter(k int) string {
	switch {
	case k == 0:
		return "the peer hung up during the v2 handshake without an answer"
	case k < cutKey:
		return whyWaitsKey
	case k < cutHello:
		return whyWaitsGarbage
	case k < cutFlight:
		return whyWaitsVersion
	}
	return whyHungUp
}

// A peer stops at every byte of its flight, in every way: an incomplete flight is refused, and the client gets nothing.
// A peer that has sent a byte is not dialled a second time, whether or not v1 is allowed.
func TestPeerCutsItsFlight(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"never", "always"} {
		t.Run(mode, func(t *testing.T) {
			u := startUnder(t, "--v1-fallback", mode)
			first := 0
			if mode == "always" {
				first = 1 // without a byte the proxy falls back to v1
			}
			for _, c := range []cut{cutReset, cutClose, cutHalf} {
				each(cutFlight+1-first, 8, func(i int) {
					cutFlightAt(t, u, first+i, c)
				})
			}
			u.requireFreed(t)
		})
	}
}

// cutFlightAt plays a peer that stops after k bytes of its flight.
func cutFlightAt(t *testing.T, u *under, k int, c cut) {
	m := meetPrompt(t, u, func(nc *net.TCPConn) {
		_, flight, err := hostile.Script{Garbage: junk[:cutGarbage]}.Prepare(nc)
		if err != nil {
			t.Errorf("%s after byte %d: %v", c.name, k, err)
			return
		}
		nc.Write(flight[:k])
		if c.name == cutHalf.name {
			nc.CloseWrite()
			drainNoPlaintext(t, nc)
		}
		c.do(nc)
	})
	want := outcome{msg: refused, why: whyCutAfter(k)}
	if k == cutFlight {
		want.msg = closed
	}
	if c.name != cutHalf.name { // the reset may overtake the data before it
		want.why = ""
		if k == cutFlight {
			want.msg = m.log.Msg
		}
	}
	if err := m.check(want); err != nil {
		t.Errorf("%s after byte %d: %v", c.name, k, err)
	}
}

// drainNoPlaintext reads what the proxy sends to a peer, to the end, and fails if it contains a client's VERSION in
// plaintext.
func drainNoPlaintext(t *testing.T, nc net.Conn) {
	if b, _ := io.ReadAll(nc); bytes.Contains(b, []byte(clearText)) {
		t.Error("the client's VERSION was sent in plaintext")
	}
}

// A peer stops after each number of bytes that it reads of the proxy's first and second flight.
func TestPeerCutsWhatItReads(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	second := 16 + 20 + 3 + 1 + 13 + len(version.payload) + 16 // terminator, version packet, VERSION
	for _, c := range []cut{cutReset, cutClose, cutHalf} {
		each(cutKey+1+second, 8, func(i int) {
			i++ // with no byte read it counts as a peer that did not answer
			m := meet(t, u, func(nc *net.TCPConn) {
				if i <= cutKey {
					io.CopyN(io.Discard, nc, int64(i))
				} else if e, err := (hostile.Script{}).Speak(nc, false); err != nil {
					t.Error(err)
				} else {
					e.ReadSome(i - cutKey - 1) // garbage, or what follows if the garbage is short
				}
				c.do(nc)
			}, nil)
			want := outcome{msg: m.log.Msg}
			if i <= cutKey {
				want.msg = refused
				if c.name == cutHalf.name {
					want.why = whyCutAfter(0)
				}
			} else if c.name == cutHalf.name {
				want.msg, want.why = closed, whyHungUp
			}
			if err := m.check(want); err != nil {
				t.Errorf("%s, case %d: %v", c.name, i, err)
			}
		})
	}
	u.requireFreed(t)
}

// askAndHello returns all that a client sends until its session is open.
func askAndHello(dest string) (script []byte, asked int) {
	ask := slices.Concat(hostile.Greeting, hostile.Request(1, dest))
	return slices.Concat(ask, hello), len(ask)
}

// A client stops at every byte of SOCKS and of its VERSION. Nothing of it is sent on, unless it could still be another
// protocol, which is passed through.
func TestClientCuts(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	s := play(t, func(nc *net.TCPConn) {})
	total, _ := askAndHello(s.addr)
	s.over()
	for _, c := range []cut{cutReset, cutClose, cutHalf} {
		each(len(total), 8, func(k int) {
			got := make(chan int64, 1)
			s := play(t, func(nc *net.TCPConn) {
				n, _ := io.Copy(io.Discard, nc)
				got <- n
			})
			says, asked := askAndHello(s.addr)
			k = min(k, len(says)-1)
			client, err := hostile.Dial(u.addr, patience)
			if err != nil {
				t.Error(err)
				return
			}
			client.Write(says[:k])
			if k >= asked {
				io.CopyN(io.Discard, client, 12) // granted
			}
			c.do(client)
			client.Close()
			e := u.end(t, client.LocalAddr())
			passed := max(0, k-asked) // bytes that may be another protocol's
			if e.Transport != "passthrough" && e.Msg != refused || passed > 3 && e.Msg != refused {
				t.Errorf("%s after byte %d: got %s, %q; want a refusal, or passthrough of at most 3 bytes", c.name, k, e.Msg, e.Reason)
			}
			if c.name == cutHalf.name && passed > 0 && passed <= 3 && e.Transport != "passthrough" {
				t.Errorf("%s after byte %d: not passed through: %s, %q", c.name, k, e.Msg, e.Reason)
			}
			if s.over() > 0 {
				if n := <-got; n > 0 && (passed > 3 || n > int64(passed)) || c.name == cutHalf.name && passed <= 3 && n != int64(passed) {
					t.Errorf("%s after byte %d: the peer got %d bytes of the client's", c.name, k, n)
				}
			}
		})
	}
	u.requireFreed(t)
}

// Both ends stall at every byte. Each session ends at its deadline and frees its resources.
func TestStalls(t *testing.T) {
	if long {
		t.Run("program", func(t *testing.T) { // with the default deadlines
			u := startUnder(t)
			stallEverywhere(t, u, 20*time.Second, 30*time.Second, 60*time.Second)
			u.requireFreed(t)
		})
	}
	goroutines, before := runtime.NumGoroutine(), openFiles("self")
	t.Run("short deadlines", func(t *testing.T) {
		limit := 4 * time.Second // enough for all handshakes at once
		if len(raceFlag()) > 0 {
			limit = 15 * time.Second
		}
		u := startServer(t, &product.Server{Policy: product.Policy{Socks: socks.Config{Timeout: limit}, Dialer: fallback.Dialer{HandshakeTimeout: limit}}, FirstBytesTimeout: limit, IdleTimeout: limit, LingerTimeout: limit})
		stallEverywhere(t, u, limit, limit, limit)
	})
	eventually(t, "goroutines and descriptors are as before", func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles("self") <= before
	})
}

// stallEverywhere stalls a peer at every byte of its flight, and a client at every byte of its script, all at once.
func stallEverywhere(t *testing.T, u *under, socks, handshake, first time.Duration) {
	late := func(what string, took, limit time.Duration) {
		over := took - limit
		if slack := time.Second; over < -limit/4 || over > patience/2 || long && over > slack {
			t.Errorf("%s: ended after %v, want at most a second more than %v", what, took, limit)
		}
	}
	_, asked := askAndHello("127.0.0.1:10000") // no destination is longer
	each(cutFlight+asked+len(hello), 1000, func(i int) {
		if i < cutFlight {
			m := meet(t, u, func(nc *net.TCPConn) {
				_, flight, err := hostile.Script{Garbage: junk[:cutGarbage]}.Prepare(nc)
				if err == nil {
					nc.Write(flight[:i])
				}
				drainNoPlaintext(t, nc)
			}, nil)
			want := outcome{msg: refused, why: strings.Replace(whyCutAfter(i), "hung up during the v2 handshake without an answer", "did not answer the v2 handshake in time", 1)}
			if err := m.check(want); err != nil {
				t.Errorf("the peer stalls at byte %d: %v", i, err)
			}
			late(fmt.Sprintf("the peer stalls at byte %d", i), m.elapsed, handshake)
			return
		}
		k := i - cutFlight
		s := play(t, func(nc *net.TCPConn) {
			if n, _ := io.Copy(io.Discard, nc); n > 0 {
				t.Errorf("the client stalls at byte %d: the peer got %d bytes", k, n)
			}
		})
		says, asked := askAndHello(s.addr)
		k = min(k, len(says)-1)
		client, err := hostile.Dial(u.addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		began, limit := time.Now(), socks
		client.Write(says[:k])
		if k == 0 || k >= asked { // a silent client may be one that speaks v1 without SOCKS
			limit = first
		}
		cutStall.do(client)
		late(fmt.Sprintf("the client stalls at byte %d", k), time.Since(began), limit)
		client.Close()
		if e := u.end(t, client.LocalAddr()); e.Msg != refused {
			t.Errorf("the client stalls at byte %d: got %s, %q; want a refusal", k, e.Msg, e.Reason)
		}
		s.over()
	})
}
