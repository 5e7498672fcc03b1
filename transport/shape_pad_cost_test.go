package transport

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
)

// nowhere is a socket that takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(p []byte) (int, error)      { return len(p), nil }
func (nowhere) Read([]byte) (int, error)         { return 0, io.EOF }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }

// With pad, too, sending allocates nothing in steady state: a run has at most 40 packets and as
// much filler, so the change of keys after each 224 is less than one allocation a run.
func TestPadAllocations(t *testing.T) {
	if testkit.Racing() {
		t.Skip("pools forget at random under the race detector")
	}
	for _, shape := range []Shape{{}, {Mode: ShapePad}} {
		for _, w := range writers[:2] {
			for _, n := range []int{0, 100, 1000, 16_000, 20_000} {
				client, _ := shapedConn(t, nowhere{}, shape)
				contents := make([]byte, n)
				if got := testing.AllocsPerRun(50, func() {
					for range 40 {
						if err := w.send(client, contents); err != nil {
							t.Fatal(err)
						}
					}
				}); got > 1 {
					t.Errorf("%v, %s: %v allocations for 40 packets of %d bytes", shape, w.name, got, n)
				}
			}
		}
		for _, n := range []int{100, 20_000} {
			client, _ := shapedConn(t, nowhere{}, shape)
			b := make([]byte, packetSize(n))
			if got := testing.AllocsPerRun(50, func() {
				for range 40 {
					if err := client.WriteInPlace(b); err != nil {
						t.Fatal(err)
					}
				}
			}); got > 1 {
				t.Errorf("%v: %v allocations for 40 packets of %d bytes in place", shape, got, n)
			}
		}
	}
}

// BenchmarkPad sends packets one by one, as a light client does, and in batches, as a node does;
// with pad and without. The bytes on the wire are reported.
func BenchmarkPad(b *testing.B) {
	for _, shape := range []Shape{{}, {Mode: ShapePad}} {
		for _, c := range []struct{ size, batch int }{{40, 1}, {250, 1}, {250, 20}, {1000, 1}, {16_000, 1}, {1_500_000, 1}} {
			b.Run(fmt.Sprintf("shape=%v/size=%d/batch=%d", shape, c.size, c.batch), func(b *testing.B) {
				client, _ := shapedConn(b, nowhere{}, shape)
				large := make([]byte, packetSize(c.size))
				contents := large[Headroom : Headroom+c.size]
				wire := 0
				client.socket.Conn = countWrites{nowhere{}, &wire}
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					var err error
					switch {
					case c.size > 16<<10:
						err = client.WriteInPlace(large)
					case i%c.batch < c.batch-1:
						err = client.Queue(contents)
					default:
						err = client.WritePacket(contents)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(wire)/float64(b.N), "wire-B/op")
			})
		}
	}
}

// countWrites counts the bytes written.
type countWrites struct {
	nowhere
	n *int
}

func (c countWrites) Write(p []byte) (int, error) {
	*c.n += len(p)
	return len(p), nil
}
