package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/shirou/gopsutil/v4/process"
	"golang.org/x/crypto/chacha20poly1305"
)

// alone returns the CPU time, in seconds, of one call of f, averaged over 400 milliseconds. It reads the same clock as
// the program's CPU time.
func alone(f func()) float64 {
	self := &program{proc: &process.Process{Pid: int32(os.Getpid())}}
	f()
	n := 0
	before := self.cpu()
	for begin := time.Now(); time.Since(begin) < 400*time.Millisecond; n++ {
		f()
	}
	return (self.cpu() - before) / float64(n)
}

// aead returns a function that seals each of t's messages once as a packet.
func (t traffic) aead() func() {
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
	return func() {
		for _, p := range packets {
			c.Seal(p[:0], nonce[:], p, nil)
		}
	}
}

// sha256 returns a function that computes each message's v1 checksum once.
func (t traffic) sha256() func() {
	return func() {
		for _, m := range t {
			once := sha256.Sum256(m.payload)
			sha256.Sum256(once[:])
		}
	}
}

// benchmarks is a package's own benchmarks, built once.
type benchmarks string

func (b *bench) benchmarks(pkg string) (benchmarks, error) {
	name := filepath.Join(b.dir, filepath.Base(pkg)+".test")
	if out, err := exec.Command("go", "test", "-c", "-o", name, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return benchmarks(name), nil
}

// cost is what one run of a benchmark says about one call.
type cost struct{ us, allocs float64 }

// run returns the cost of the benchmark Benchmark<name>/impl=<impl>.
func (b benchmarks) run(name, impl string) (c cost, err error) {
	out, err := exec.Command(string(b), "-test.run", "^$", "-test.bench", "^Benchmark"+name+"$/^impl="+impl+"$", "-test.benchtime", "500ms").CombinedOutput()
	if err != nil {
		return c, fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	m := regexp.MustCompile(`([\d.]+) ns/op\s+\d+ B/op\s+(\d+) allocs/op`).FindSubmatch(out)
	if m == nil {
		return c, fmt.Errorf("no result for %s/impl=%s in:\n%s", name, impl, out)
	}
	c.us, _ = strconv.ParseFloat(string(m[1]), 64)
	c.us /= 1e3
	c.allocs, _ = strconv.ParseFloat(string(m[2]), 64)
	return c, nil
}

// keyExchange compares our key creation and ECDH with btcec's.
func (b *bench) keyExchange() ([]row, error) {
	transport, err := b.benchmarks("bip324proxy/transport")
	if err != nil {
		return nil, err
	}
	impls := [2]string{"ours", "btcec"}
	var us [2]series
	var last [2]cost
	for range b.rounds {
		for i, impl := range impls {
			if last[i], err = transport.run("KeyExchange", impl); err != nil {
				return nil, err
			}
			us[i] = append(us[i], last[i].us)
		}
	}
	return []row{{what: "key exchange", unit: "µs", got: us[0], limit: []part{{"btcec", us[1]}}, target: 0.30,
		note: fmt.Sprintf("%.0f and %.0f allocations", last[0].allocs, last[1].allocs)}}, nil
}
