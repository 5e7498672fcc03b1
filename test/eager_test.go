package test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// Peers that send bytes before the client's VERSION reaches them.

// A responder may send its key at once.
func TestEagerV2Peer(t *testing.T) {
	for _, fallback := range []string{"never", "always"} {
		t.Run(fallback, func(t *testing.T) {
			t.Parallel()
			u := startUnder(t, "--v1-fallback", fallback)
			each(100, 8, func(i int) {
				c := peerCase{
					script: hostile.Script{KeyFirst: true, Garbage: randomPayload(uint64(i), i*4095/99), WriteInParts: []int{0, 0, 1000, 64, 1}[i%5]},
					sends:  three, want: fine,
				}
				var m meeting
				var faults []error
				for range 10 {
					faults = nil
					m = meet(t, u, c.play(func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }), nil)
					if !m.late() {
						break
					}
				}
				if err := errors.Join(append(faults, m.check(c.want))...); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			})
			u.requireFreed(t)
		})
	}
}

// late reports whether the client's VERSION came after the 100 ms for which the proxy holds back bytes that a peer
// sends before it: a client on a busy host may be that slow.
func (m meeting) late() bool {
	return m.log.Reason == "the peer sent data before the client's VERSION" && m.log.Duration > 100*time.Millisecond
}

// The bip324 crate as a responder that sends its key at once.
func TestEagerRustPeer(t *testing.T) {
	t.Parallel()
	const sessions = 100
	rust := startRustPeer(t, strconv.Itoa(sessions), "2")
	theirs := rust.awaitAddr(t, "listening on ")
	u := startUnder(t, "--v1-fallback", "always")
	for i := range sessions {
		said := []message{version, {"ping", randomPayload(uint64(i), 8)}}
		var sent []byte
		for _, m := range said {
			sent = append(sent, hostile.V1(m.name, m.payload)...)
		}
		client, err := hostile.Connect(u.addr, theirs, patience, sent...) // at once: see late
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said {
			if name, payload, err := hostile.ReadV1(client); err != nil || name != m.name || string(payload) != string(m.payload) {
				t.Errorf("session %d: got %q back, want %v: %v", i, name, m, err)
			}
		}
		client.Close()
		if end := u.end(t, client.LocalAddr()); end.Transport != "v2" {
			t.Errorf("session %d: unexpected end %+v", i, end)
		}
	}
	rust.awaitEnd(t)
}

// startRustPeer builds and runs the wrapper around the bip324 crate.
func startRustPeer(t *testing.T, args ...string) *program {
	t.Helper()
	toolchain(t, "cargo")
	dir := cached(t, "bip324", func(dir string) error {
		target := filepath.Join(dir, "target")
		if err := install(t, dir, "cargo", "build", "--release", "--target-dir", target); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(target, "release", "peer"+exe), filepath.Join(dir, "peer"+exe)); err != nil {
			return err
		}
		return os.RemoveAll(target)
	})
	return start(t, "bip324", filepath.Join(dir, "peer"+exe), args...)
}

// Any byte of the peer, whenever it arrives, rules out v1: the proxy passes it to the handshake.
func TestEagerPeerRulesOutV1(t *testing.T) {
	t.Parallel()
	u := startUnder(t, "--v1-fallback", "always")
	each(400, 8, func(i int) {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		said := randomPayload(uint64(i), 1+random.IntN(100))
		wait := time.Duration(random.IntN(600)) * time.Microsecond * time.Duration(i%3)
		m := meet(t, u, func(nc *net.TCPConn) {
			time.Sleep(wait)
			nc.Write(said)
			switch i % 4 {
			case 0:
				nc.Read(make([]byte, 1))
				reset(nc)
			case 1:
				nc.Read(make([]byte, 1))
			case 2:
				nc.Read(make([]byte, 8192))
			}
		}, nil)
		if m.late() {
			return // no longer held back: not tested here
		}
		if m.dials != 1 || m.log.Msg != refused || !strings.Contains(m.log.Reason, fmt.Sprintf(" %d received", len(said))) {
			t.Errorf("%d: the peer sent %d bytes; got %d connections to it, %+v", i, len(said), m.dials, m.log)
		}
	})
}

// A v1 node that sends its VERSION unprompted counts as v1, whether our key has reached it yet or not.
func TestV1NodeSpeaksFirst(t *testing.T) {
	for _, c := range []struct {
		name    string
		says    func(nc *net.TCPConn, head []byte) // sends its VERSION or a part of it
		opens   bool                               // with --v1-fallback always
		refused string
	}{
		{"at once", func(nc *net.TCPConn, head []byte) { nc.Write(head) }, true, "the peer speaks v1: it sent a VERSION of mainnet"},
		{"byte by byte", func(nc *net.TCPConn, head []byte) {
			for i := range head {
				nc.Write(head[i : i+1])
			}
		}, true, "the peer speaks v1: it sent a VERSION of mainnet"},
		{"after our key", func(nc *net.TCPConn, head []byte) {
			nc.Read(make([]byte, 1))
			nc.Write(head)
		}, true, "the peer speaks v1: it sent a VERSION of mainnet"},
		{"23 bytes of it", func(nc *net.TCPConn, head []byte) {
			nc.Write(head[:23])
			nc.Read(make([]byte, 1))
		}, false, "v2 handshake failed"},
		{"another network's", func(nc *net.TCPConn, head []byte) { nc.Write(hostile.V1On([4]byte{1, 2, 3, 4}, "version", head)) }, false,
			"the peer speaks v1, and on another network than mainnet"},
		{"another message", func(nc *net.TCPConn, head []byte) { nc.Write(hostile.V1("verack", head)) }, false, "v2 handshake failed"},
	} {
		for _, fallback := range []string{"never", "always"} {
			t.Run(c.name+"/"+fallback, func(t *testing.T) {
				t.Parallel()
				u := startUnder(t, "--v1-fallback", fallback)
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				heard := make(chan string, 10)
				go func() {
					for first := true; ; first = false {
						nc, err := l.Accept()
						if err != nil {
							return
						}
						go v1First(nc.(*net.TCPConn), first, c.says, heard)
					}
				}()
				for range 3 { // the second time it is a known peer
					sent := hostile.V1(version.name, version.payload) // at once: see late
					client, err := hostile.Connect(u.addr, l.Addr().String(), patience, sent...)
					if err != nil {
						t.Fatal(err)
					}
					if !c.opens || fallback == "never" {
						if b, _ := io.ReadAll(client); len(b) > 0 {
							t.Errorf("the client got %d bytes", len(b))
						}
						if end := u.end(t, client.LocalAddr()); end.Msg != refused || !strings.Contains(end.Reason, c.refused) {
							t.Errorf("got %+v, want a refusal with reason %q", end, c.refused)
						}
						break // the next connection would be the peer's second
					}
					for _, want := range []string{"version", "verack"} {
						if name, _, err := hostile.ReadV1(client); name != want || err != nil {
							t.Errorf("the client got %q, %v, want %s", name, err, want)
						}
					}
					client.Close()
					if end := u.end(t, client.LocalAddr()); end.Transport != "v1" {
						t.Errorf("got %+v, want transport v1", end)
					}
					if got := <-heard; got != "version <nil>" {
						t.Errorf("the node got %s", got)
					}
				}
				select {
				case got := <-heard:
					t.Errorf("the node got %s", got)
				default:
				}
			})
		}
	}
}

// v1First plays a v1 node that sends its VERSION first: on the first connection by calling says, on others at once. It
// reports what it hears if that is v1.
func v1First(nc *net.TCPConn, first bool, says func(*net.TCPConn, []byte), heard chan<- string) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	head := hostile.V1("version", randomPayload(5, 90))
	if first {
		says(nc, head)
	} else {
		nc.Write(head)
	}
	name, _, err := hostile.ReadV1(nc)
	if err != nil { // not v1
		hangUp(nc) // a reset could overtake its data
		return
	}
	heard <- fmt.Sprint(name, " ", err)
	nc.Write(hostile.V1("verack", nil))
	hangUp(nc)
}
