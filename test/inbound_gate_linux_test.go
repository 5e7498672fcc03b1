package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// halfOpen are the stages at which a peer may stop before its VERSION is complete.
var halfOpen = map[string]func(*net.TCPConn) error{
	"nothing sent": func(*net.TCPConn) error { return nil },
	"part of v1's first bytes": func(nc *net.TCPConn) error {
		_, err := nc.Write(versionBytes[:11])
		return err
	},
	"key only":            func(nc *net.TCPConn) error { return afterKey(nc, 0) },
	"garbage without end": func(nc *net.TCPConn) error { return afterKey(nc, hostile.MaxGarbage) },
	"no VERSION": func(nc *net.TCPConn) error {
		_, err := hostile.Script{Magic: regtestMagic}.Shake(nc, true)
		return err
	},
	"half a VERSION": func(nc *net.TCPConn) error {
		end, err := hostile.Script{Magic: regtestMagic}.Shake(nc, true)
		if err == nil {
			_, err = end.Write(end.Seal(hostile.V2("version", hostile.Version("/peer:1/")), 0)[:40])
		}
		return err
	},
}

// afterKey sends 64 bytes, which are a key, and garbage.
func afterKey(nc *net.TCPConn, garbage int) error {
	_, err := nc.Write(bytes.Repeat([]byte{0x5a}, 64+garbage))
	return err
}

// Peers that stop before their VERSION is complete, from one address or from many of one network, as many as they
// can, do not reach the node, are sent no v1, and do not keep out others.
func TestInboundHalfOpen(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	const attackers, honest = 200, 20
	for stage, play := range halfOpen {
		for where, from := range map[string][]string{"an address": {"66.6.6.6"}, "a /16": addresses("66.6.%d.6", 200)} {
			t.Run(stage+" from "+where, func(t *testing.T) {
				wire := startCapture(t)
				node := startCountingNode(t)
				startPublic(t, "regtest", node.addr)
				ctx, stop := context.WithCancel(t.Context())
				var begun, attack sync.WaitGroup
				defer attack.Wait()
				defer stop()
				for i := range attackers {
					begun.Add(1)
					attack.Go(func() {
						done := sync.OnceFunc(begun.Done)
						for ctx.Err() == nil {
							if nc, err := dialFrom(from[i%len(from)], inboundAddr); err == nil {
								context.AfterFunc(ctx, func() { nc.Close() })
								play(nc) // fails if the proxy hangs up
								done()
								io.Copy(io.Discard, nc)
								nc.Close()
							}
							done()
							select {
							case <-ctx.Done():
							case <-time.After(200 * time.Millisecond):
							}
						}
					})
				}
				begun.Wait()
				if n := node.accepted.Load(); n > 0 {
					t.Errorf("%d half-open peers reached the node", n)
				}
				var took durations
				good := joinAll(addresses("8.%d.8.8", honest), inboundAddr, &took)
				if n := alive(good); n != honest {
					t.Errorf("%d of %d others are in", n, honest)
				}
				if n := node.accepted.Load(); n != honest {
					t.Errorf("the node has seen %d connections, want %d", n, honest)
				}
				t.Logf("others, until VERACK: %v", &took)
				if slowest := took.at(1); slowest > 10*time.Second { // without load it is a tenth of a second
					t.Errorf("others take up to %v", slowest)
				}
				stop() // a capture ends when nothing is sent any more
				attack.Wait()
				requireNoV1(t, wire, stage == "nothing sent" || strings.HasPrefix(stage, "part of v1's"))
			})
		}
	}
}

// requireNoV1 checks that no peer was sent v1, and if attackers have not shown that they speak v2, nothing to them.
func requireNoV1(t *testing.T, wire *capture, attackersGetNothing bool) {
	t.Helper()
	sent := 0
	for f, b := range wire.streams() {
		switch {
		case f.from.Port() != 8333 && f.from.Port() != 8335: // not the proxy's
			continue
		case bytes.HasPrefix(b, regtestMagic[:]), bytes.Contains(b, []byte("version\x00\x00")):
			t.Errorf("%v was sent v1", f.to)
		case attackersGetNothing && strings.HasPrefix(f.to.String(), "66.") && len(b) > 0:
			t.Errorf("%v was sent %d bytes", f.to, len(b))
		}
		sent += len(b)
	}
	if sent == 0 {
		t.Error("the capture lacks what peers were sent")
	}
}

// Peers of few networks that take all places first do not keep out those of others, who stay.
func TestInboundEviction(t *testing.T) {
	t.Parallel()
	if !namespace(t) {
		return
	}
	takeAddresses(t, publicNetworks...)
	const sessions, honest = 50, 20
	hold := time.Second
	if long {
		hold = 8 * time.Second
	}
	ten := func(format string) (all []string) {
		for i := range 10 {
			all = append(all, addresses(fmt.Sprintf(format, i), 8)...)
		}
		return all
	}
	for name, c := range map[string]struct {
		attackers []string
		in        int // of them at first
	}{
		"a /16":    {addresses("66.6.6.%d", 80), sessions / 8},
		"ten /16s": {ten("66.%d.%%d.6"), sessions},
		"a /32":    {addresses("2001:db8:1:%d::1", 80), sessions / 8},
		"Tor":      {slices.Repeat([]string{"127.0.0.1"}, 80), sessions},
	} {
		t.Run(name, func(t *testing.T) {
			wire := startCapture(t)
			node := startCountingNode(t)
			to, flags := inboundAddr, []string{"--inbound-sessions", fmt.Sprint(sessions)}
			switch name {
			case "Tor":
				to = "127.0.0.1:8335"
			case "a /32":
				to = "[2001:db9::9]:8333"
				for _, a := range append(c.attackers, "2001:db9::9") { // a route is not enough
					if exec.Command("ip", "address", "add", a, "dev", "lo", "nodad").Run() != nil {
						notRun(t, "this machine has no IPv6")
					}
				}
			}
			if to != inboundAddr {
				flags = append(flags, "--inbound", to+"="+node.addr)
			}
			p := startPublic(t, "regtest", node.addr, flags...)
			var attackers []*inboundPeer
			for some := range slices.Chunk(c.attackers, 8) { // few at a time, or the proxy ends pending ones
				attackers = append(attackers, joinAll(some, to, nil)...)
			}
			if n := alive(attackers); n != c.in {
				t.Errorf("%d of the first %d are in, want %d", n, len(c.attackers), c.in)
			}
			good := joinAll(addresses("8.%d.8.8", honest), inboundAddr, nil)
			time.Sleep(hold)
			if n := alive(good); n != honest {
				t.Errorf("%d of %d others are in after %v", n, honest, hold)
			}
			left := min(c.in, sessions-honest)
			if n := alive(attackers); n != left {
				t.Errorf("%d of the first are left, want %d", n, left)
			}
			eventually(t, "the node has these peers only", func() bool { return node.now.Load() == int64(left+honest) })
			runtime.KeepAlive(attackers) // the garbage collector closes connections that nothing refers to
			runtime.KeepAlive(good)
			if left < c.in && p.out.count(`"session closed"`, "evicted for another peer") == 0 {
				t.Error("the log does not say that peers were evicted")
			}
			requireNoV1(t, wire, false)
		})
	}
}
