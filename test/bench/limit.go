package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/shirou/gopsutil/v4/process"
	"golang.org/x/crypto/chacha20poly1305"
)

// alone returns the CPU time, in seconds, of one call of f, averaged over two seconds. It reads the same clock as the
// program's CPU time.
func alone(f func()) float64 {
	self := &program{proc: &process.Process{Pid: int32(os.Getpid())}}
	f()
	n := 0
	before := self.cpu()
	for begin := time.Now(); time.Since(begin) < 2*time.Second; n++ {
		f()
	}
	return (self.cpu() - before) / float64(n)
}

// aead returns the CPU time, in seconds, to seal each of t's messages once as a packet.
func (t traffic) aead() float64 {
	key := make([]byte, chacha20poly1305.KeySize)
	rand.Read(key)
	c, err := chacha20poly1305.New(key)
	if err != nil {
		panic(err)
	}
	var nonce [chacha20poly1305.NonceSize]byte
	packets := t.contents()
	for i, p := range packets {
		packets[i] = append(make([]byte, 0, len(p)+1+c.Overhead()), append(p, 0)...) // with the header byte
	}
	return alone(func() {
		for _, p := range packets {
			c.Seal(p[:0], nonce[:], p, nil)
		}
	})
}

// sha256 returns the CPU time, in seconds, to compute each message's v1 checksum once.
func (t traffic) sha256() float64 {
	return alone(func() {
		for _, m := range t {
			once := sha256.Sum256(m.payload)
			sha256.Sum256(once[:])
		}
	})
}

// keyCosts returns the seconds for one key creation and one ECDH, from transport's own benchmarks.
func keyCosts() (creation, ecdh float64, err error) {
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "^(BenchmarkKeyCreation|BenchmarkECDH)$", "bip324proxy/transport").CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	seconds := func(name string) (s float64) {
		m := regexp.MustCompile(name + `\S*\s+\d+\s+([\d.]+) ns/op`).FindSubmatch(out)
		if m == nil {
			err = fmt.Errorf("no result for %s in:\n%s", name, out)
			return 0
		}
		ns, _ := strconv.ParseFloat(string(m[1]), 64)
		return ns / 1e9
	}
	creation, ecdh = seconds("BenchmarkKeyCreation"), seconds("BenchmarkECDH")
	return creation, ecdh, err
}
