package test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// secret is a value that the test knows as the peer.
type secret struct {
	name  string
	value []byte
}

// live returns the secrets of a session's current ciphers, which a live session must hold.
func live(k *hostile.Keys) []secret {
	return []secret{
		{"session id", k.SessionID[:]},
		{"initiator_L", k.InitiatorL[:]}, {"initiator_P", k.InitiatorP[:]},
		{"responder_L", k.ResponderL[:]}, {"responder_P", k.ResponderP[:]},
	}
}

// spent returns the secrets that are useless once the ciphers exist.
func spent(k *hostile.Keys) []secret {
	pad := func(x byte) []byte { // HMAC's padded key, as in its states
		b := bytes.Repeat([]byte{x}, 64)
		for i, c := range k.PRK {
			b[i] ^= c
		}
		return b
	}
	return []secret{
		{"x of the shared point", k.Point[:]}, {"ECDH secret", k.ECDH[:]}, {"PRK", k.PRK[:]},
		{"PRK in HMAC's inner pad", pad(0x36)}, {"PRK in HMAC's outer pad", pad(0x5c)},
	}
}

// memory returns the writable memory of a process.
func memory(t *testing.T, pid int) (all [][]byte) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		notRun(t, "the memory of another process cannot be read: %v", err)
	}
	defer mem.Close()
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || mode[:2] != "rw" {
			continue
		}
		b := make([]byte, to-from)
		n, err := mem.ReadAt(b, from)
		if n == 0 && err != nil {
			notRun(t, "the memory of another process cannot be read: %v", err)
		}
		all = append(all, b[:n])
	}
	return all
}

// hits counts the occurrences of a value in memory.
func hits(memory [][]byte, value []byte) (n int) {
	for _, b := range memory {
		n += bytes.Count(b, value)
	}
	return n
}

// idleSession returns the keys of a session that is idle after that many packets each way.
func idleSession(t *testing.T, u *under, packets int) *hostile.Keys {
	t.Helper()
	keys := make(chan *hostile.Keys, 1)
	s := play(t, func(nc *net.TCPConn) {
		e, err := hostile.Script{}.Shake(nc, false)
		if err != nil {
			t.Error(err)
			keys <- nil
			return
		}
		for i := range packets {
			e.Receive()
			e.Send(hostile.V2("ping", junk[i:i+8]))
		}
		keys <- &e.Keys
		e.Receive() // until the test ends
	})
	client, err := hostile.Connect(u.addr, s.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); s.over() })
	client.Write(hello)
	for range packets {
		client.Write(hostile.V1("pong", junk[:8]))
		if _, _, err := hostile.ReadV1(client); err != nil {
			t.Fatal(err)
		}
	}
	return <-keys
}

// The memory of an idle program, as in a core dump, holds no secrets that lead to others.
func TestSecretsInMemory(t *testing.T) {
	if len(raceFlag()) > 0 {
		notRun(t, "the race detector copies memory")
	}
	t.Parallel()
	u := startUnder(t)
	young, old := idleSession(t, u, 3), idleSession(t, u, 300) // before and after a rekey
	var failed, gone *hostile.Keys
	meet(t, u, func(nc *net.TCPConn) {
		if e, err := (hostile.Script{}).Shake(nc, false); err != nil {
			t.Error(err)
		} else {
			gone = &e.Keys
			e.Send(hostile.V2("ping", junk[:8]))
		}
		hangUp(nc)
	}, nil)
	meet(t, u, func(nc *net.TCPConn) {
		e, _ := hostile.Script{FlipBit: 5, Filler: junk}.Speak(nc, false)
		failed = &e.Keys
		hangUp(nc)
	}, nil)
	<-time.After(time.Second)
	mem := memory(t, u.pid)

	for _, s := range live(young)[:1] { // the search finds secrets that exist
		if hits(mem, s.value) == 0 {
			t.Errorf("%s of a live session is not found, so this test proves nothing", s.name)
		}
	}
	for _, s := range live(young)[1:] {
		t.Logf("%d times: %s of a live session, in use", hits(mem, s.value), s.name)
	}
	for name, secrets := range map[string][]secret{
		"a live session":                        spent(young),
		"a live session, the keys changed":      slices.Concat(spent(old), live(old)[1:]),
		"a session that has ended":              slices.Concat(spent(gone), live(gone)[1:]),
		"a handshake that has failed, and gone": slices.Concat(spent(failed), live(failed)[1:]),
	} {
		for _, s := range secrets {
			if n := hits(mem, s.value); n > 0 {
				t.Errorf("found %d times in memory, want 0: %s of %s", n, s.name, name)
			}
		}
	}
}
