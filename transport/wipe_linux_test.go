//go:build linux && !race

package transport

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
)

// TestWipedFromMemory searches for secrets in all the memory of a process after a handshake with a
// known key: heap, unreferenced objects, stack frames that were left. That process is this test's
// program, run again.
func TestWipedFromMemory(t *testing.T) {
	if what := os.Getenv("EXCHANGE"); what != "" {
		keyExchange(t, what)
		return
	}
	for _, what := range []string{"ECDH", "handshake", "decoys"} {
		t.Run(what, func(t *testing.T) { wipedAfter(t, what) })
	}
}

func wipedAfter(t *testing.T, what string) {
	v := vectors(t, "packet_encoding_test_vectors.csv")[0]
	key := fixedKey(t, 0)
	theirs := *newPrivateKey()
	h := machine(t, Config{Magic: mainnet}, true, key)
	p := newPeer(t, h, &theirs)
	var secret, shared [32]byte
	key.sharedX(&shared, &theirs.public)
	key.ecdh(&secret, &theirs.public, true)
	prk, err := hkdf.Extract(sha256.New, secret[:], append([]byte("bitcoin_v2_shared_secret"), mainnet[:]...))
	if err != nil {
		t.Fatal(err)
	}
	reversed := func(b [32]byte) []byte {
		slices.Reverse(b[:])
		return b[:]
	}
	secrets := []struct {
		name  string
		bytes []byte
	}{
		{"scalar", key.scalar[:]},
		{"scalar as an element", reversed(key.scalar)},
		{"shared x", shared[:]},
		{"shared x as an element", reversed(shared)},
		{"shared secret", secret[:]},
		{"PRK", prk},
	}
	// The ciphers must hold their keys: finding these shows that the search works.
	held := []struct {
		name  string
		bytes []byte
	}{
		{"key that encrypts lengths", p.keys.recvL[:]},
		{"key that encrypts contents", p.keys.recvP[:]},
		{"key that decrypts lengths", p.keys.sendL[:]},
		{"key that decrypts contents", p.keys.sendP[:]},
	}

	flight := p.hello(nil)
	if what == "decoys" { // for a rekeying of the decrypting ciphers within the handshake
		for range rekeyInterval + 1 {
			flight = p.seal.seal(flight, nil, nil, true)
		}
		secrets, held = append(secrets, held[2:]...), held[:2]
	}
	flight = p.seal.seal(flight, nil, nil, false)
	cmd := exec.Command(os.Args[0], "-test.run=^TestWipedFromMemory$")
	cmd.Env = append(os.Environ(), "EXCHANGE="+what,
		"EXCHANGE_KEY="+v["in_priv_ours"], "EXCHANGE_PUBLIC="+v["in_ellswift_ours"],
		"EXCHANGE_FLIGHT="+hex.EncodeToString(flight))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		cmd.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "done\n" {
		t.Fatalf("the process printed %q, %v", line, err)
	}
	memory := memoryOf(t, cmd.Process.Pid)
	count := func(secret []byte) (n int) {
		for _, region := range memory {
			n += bytes.Count(region, secret)
		}
		return n
	}
	for _, s := range secrets {
		if n := count(s.bytes); n > 0 {
			t.Errorf("the %s was found %d times, want 0", s.name, n)
		}
	}
	if what == "ECDH" {
		return
	}
	for _, s := range held {
		if n := count(s.bytes); n != 1 {
			t.Errorf("the %s was found %d times, want 1", s.name, n)
		}
	}
}

// keyExchange performs a handshake, or ECDH alone, in a goroutine whose stack is not reused, and
// waits.
func keyExchange(t *testing.T, what string) {
	key := new(privateKey)
	hex.Decode(key.scalar[:], []byte(os.Getenv("EXCHANGE_KEY")))
	hex.Decode(key.public[:], []byte(os.Getenv("EXCHANGE_PUBLIC")))
	flight := unhex(t, os.Getenv("EXCHANGE_FLIGHT"))
	h := &Handshake{cfg: Config{Magic: mainnet}, initiator: true, key: key}
	h.Start()
	done := make(chan struct{})
	go func() {
		if what == "ECDH" {
			secret := new([32]byte)
			key.ecdh(secret, (*[KeySize]byte)(flight), true)
			key.wipe()
			clear(secret[:])
		} else {
			h.Receive(flight)
		}
		close(done)
		select {}
	}()
	<-done
	if what != "ECDH" && h.Stage() != StageDone {
		t.Fatal(h.Stage())
	}
	fmt.Println("done")
	os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(h)
}

// memoryOf returns the writable memory of a process.
func memoryOf(t *testing.T, pid int) (regions [][]byte) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Skip("another process's memory cannot be read here: ", err)
	}
	defer mem.Close()
	for line := range bytes.Lines(maps) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(string(line), "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if mode[:2] != "rw" {
			continue
		}
		b := make([]byte, to-from)
		n, _ := mem.ReadAt(b, int64(from))
		if n == 0 {
			continue // pages that the kernel keeps for itself
		}
		regions = append(regions, b[:n])
	}
	return regions
}
