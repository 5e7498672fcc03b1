//go:build unix

package v1v2

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"bip324proxy/internal/stream"
)

// largeLoads are the messages that are relayed large.
var largeLoads = []struct {
	name string
	message
}{
	{"tx20kB", message{"tx", testBytes(20_000, 1)}},
	{"headers162kB", message{"headers", testBytes(162_003, 1)}},
	{"block1.1MB", message{"block", testBytes(1_100_000, 1)}},
	{"block1.5MB", message{"block", testBytes(1_500_000, 1)}},
	{"block4MB", message{"block", testBytes(MaxPayload, 1)}},
}

// relayed is how much is relayed in one round, in bytes.
const relayed = 96_000_000

// sink copies what is written to it, as the kernel does.
type sink struct {
	net.Conn
	out []byte
}

func (s *sink) Write(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(s.out, p[n:min(len(p), n+len(s.out))])
	}
	return n, nil
}

func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }

// measure runs f, of n bytes, b.N times, and reports wall clock and CPU time for a GB.
func measure(b *testing.B, n int, prepare func(), f func() error) {
	var cpu, wall time.Duration
	for i := -2; i < b.N; i++ { // two rounds to warm up
		prepare()
		spent, begin := cpuTime(), time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		if i >= 0 {
			wall += time.Since(begin)
			cpu += cpuTime() - spent
		}
	}
	b.ReportMetric(0, "ns/op")
	gigabytes := float64(n) * float64(b.N) / 1e9
	b.ReportMetric(wall.Seconds()/gigabytes, "wall-s/GB")
	b.ReportMetric(cpu.Seconds()/gigabytes, "cpu-s/GB")
}

// BenchmarkRelayLarge measures the proxy's two loops with large messages one after another, from
// memory and to memory. Compare two versions, in alternation, on two idle cores:
//
//	go test ./v1v2 -run '^$' -bench RelayLarge -benchtime 10x
func BenchmarkRelayLarge(b *testing.B) {
	for _, load := range largeLoads {
		n := relayed / len(load.payload)
		b.Run("down/"+load.name, func(b *testing.B) {
			contents := v2Bytes(load.message.name, load.payload)
			out := stream.NewWriter(&sink{out: make([]byte, 256<<10)})
			l := newWay(b, "", true, nil)
			measure(b, n*(HeaderSize+len(load.payload)), func() {
				l.back.out = l.back.out[:0]
				for range n {
					if err := l.peer.Queue(contents); err != nil {
						b.Fatal(err)
					}
				}
				l.peer.Flush()
				l.side.in = l.back.out
			}, func() error { return atEnd(l.conn.WriteTo(out)) })
		})
		b.Run("up/"+load.name, func(b *testing.B) {
			var all []byte
			for range n {
				all = append(all, v1Bytes(mainnet, load.message.name, load.payload)...)
			}
			memory := stream.NewMemory(32 << 20)
			l := newWay(b, "", true, nil)
			l.side.out = make([]byte, 256<<10)
			measure(b, len(all), func() {}, func() error {
				in := stream.NewReader(&memorySocket{in: all})
				in.SetMemory(memory)
				return atEnd(l.conn.ReadFrom(NewReader(in, mainnet)))
			})
		})
	}
}

// BenchmarkRelayFloor measures what BenchmarkRelayLarge does for a block with a bare loop: copy in, open or seal,
// hash, copy out, in one buffer that stays.
func BenchmarkRelayFloor(b *testing.B) {
	const size = 1_500_000
	key := make([]byte, chacha20poly1305.KeySize)
	rand.Read(key)
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		b.Fatal(err)
	}
	var nonce [chacha20poly1305.NonceSize]byte
	for what, do := range map[string]func(aead cipher.AEAD, buf []byte) error{
		"down": func(aead cipher.AEAD, buf []byte) error {
			if _, err := aead.Open(buf[:0], nonce[:], buf, nil); err != nil {
				return err
			}
			once := sha256.Sum256(buf[:size])
			sha256.Sum256(once[:])
			return nil
		},
		"up": func(aead cipher.AEAD, buf []byte) error {
			once := sha256.Sum256(buf[:size])
			sha256.Sum256(once[:])
			aead.Seal(buf[:0], nonce[:], buf[:size], nil)
			return nil
		},
	} {
		b.Run(what, func(b *testing.B) {
			n := relayed / size
			packet := aead.Seal(nil, nonce[:], testBytes(size, 1), nil)
			var all []byte
			for range n {
				all = append(all, packet...)
			}
			buf := make([]byte, len(packet))
			to := &sink{out: make([]byte, 256<<10)}
			measure(b, n*size, func() {}, func() error {
				in := &memorySocket{in: all}
				for range n {
					for at := 0; at < len(buf); {
						k, err := in.Read(buf[at:min(len(buf), at+256<<10)])
						if err != nil {
							return err
						}
						at += k
					}
					if err := do(aead, buf); err != nil {
						return err
					}
					to.Write(buf)
				}
				return nil
			})
		})
	}
}
