package v1v2

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"

	"bip324proxy/internal/stream"
	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// lying returns a v1 header that announces n bytes.
func lying(n uint32) []byte {
	h := v1Bytes(mainnet, "block", nil)
	binary.LittleEndian.PutUint32(h[16:], n)
	return h
}

func TestReaderLengths(t *testing.T) {
	for _, c := range []struct {
		length uint32
		ok     bool
	}{{4_000_000, true}, {4_000_001, false}, {1 << 24, false}, {1 << 31, false}, {1<<32 - 24, false}, {1<<32 - 1, false}} {
		_, _, err := reader(lying(c.length), nil).Next()
		var length *LengthError
		if c.ok {
			if err != io.ErrUnexpectedEOF {
				t.Errorf("%d bytes: got %v", c.length, err)
			}
		} else if !errors.As(err, &length) || length.Length != c.length || length.Type.String() != "block" || length.Error() == "" {
			t.Errorf("%d bytes: got %v", c.length, err)
		}
	}
}

// stalled is a socket that delivers its data and nothing more until it is closed.
type stalled struct {
	scripted
	closed chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		<-s.closed
	}
	return s.scripted.Read(p)
}

// An announced length costs nothing if it is too large or very small, a buffer if it fits one, and
// at most 256 KiB until the bytes arrive, in each of many sessions.
func TestReaderMemory(t *testing.T) {
	const readers = 100
	for _, c := range []struct {
		length uint32
		most   uint64
	}{{1<<32 - 1, 1 << 10}, {4_000_001, 1 << 10}, {4_000_000, 258 << 10}, {200_000, 258 << 10}, {20_000, 34 << 10}, {16_360, 34 << 10}, {400, 34 << 10}, {200, 1 << 10}} {
		runtime.GC() // twice empties the pools
		runtime.GC()
		synctest.Test(t, func(t *testing.T) {
			closed := make(chan struct{})
			var rs [readers]*Reader
			for i := range rs {
				rs[i] = NewReader(stream.NewReader(&stalled{scripted{data: lying(c.length)}, closed}), mainnet)
			}
			_, size := mallocs(func() {
				for _, r := range rs {
					go func() {
						if _, _, err := r.Next(); err == nil {
							t.Error("Next returned a message without its payload")
						}
					}()
				}
				synctest.Wait()
			})
			if size/readers > c.most {
				t.Errorf("a header that announces %d bytes costs %d, want at most %d", c.length, size/readers, c.most)
			}
			close(closed)
		})
	}
}

// mallocs returns the allocations during f, by all goroutines.
func mallocs(f func()) (objects, size uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc
}

// In steady state a session allocates only for rekeying, at every 224th packet on either end.
func TestSteadyStateAllocations(t *testing.T) {
	if testkit.Racing() {
		t.Skip("pools forget under the race detector")
	}
	const messages, perBatch = 100_000, 500
	payload := testBytes(37, 1)
	v1, v2 := v1Bytes(mainnet, "inv", payload), v2Bytes("inv", payload)
	var batch []byte
	for range perBatch {
		batch = append(batch, v1...)
	}
	s := overTCP(t)
	back := make([]byte, len(batch))
	failed := make(chan error, 4)
	step := make([]chan int, 4)
	for i, do := range []func() error{
		func() error { _, err := s.client.Write(batch); return err },
		func() error { _, err := io.ReadFull(s.client, back); return err },
		func() error {
			for range perBatch {
				if err := s.peer.Queue(v2); err != nil {
					return err
				}
			}
			return s.peer.Flush()
		},
		func() error {
			for range perBatch {
				if _, err := s.peer.ReadPacket(); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		step[i] = make(chan int)
		defer close(step[i])
		go func() {
			for n := range step[i] {
				var err error
				for ; n > 0 && err == nil; n-- {
					err = do()
				}
				failed <- err
			}
		}()
	}
	run := func(batches int) {
		for _, c := range step {
			c <- batches
		}
		for range step {
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
		}
	}
	run(10) // warm up
	objects, size := mallocs(func() { run(messages / perBatch) })
	perMessage := float64(objects) / (2 * messages)
	t.Logf("%.4f allocations and %.2f bytes a message", perMessage, float64(size)/(2*messages))
	// The objects of four keys (two ciphers at two ends) in 224 packets.
	if perMessage > 16.0/224 {
		t.Errorf("%.4f allocations a message", perMessage)
	}
}

// The memory of a large message is reused for the next one, in both directions.
func TestLargeMessagesReuseMemory(t *testing.T) {
	if testkit.Racing() {
		t.Skip("pools forget under the race detector")
	}
	const rounds = 50
	payload := testBytes(1_500_000, 1)
	v1, contents := v1Bytes(mainnet, "block", payload), v2Bytes("block", payload)
	packet := make([]byte, transport.Headroom+len(contents)+transport.Tailroom)
	s := overTCP(t)
	way := func(send func() error, to net.Conn, size int) func() {
		in := make([]byte, 64<<10)
		return func() {
			sent := make(chan error, 1)
			go func() { sent <- send() }()
			for left := size; left > 0; {
				n, err := to.Read(in[:min(left, len(in))])
				if err != nil {
					t.Fatal(err)
				}
				left -= n
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, round := range map[string]func(){
		"to the peer": way(func() error { _, err := s.client.Write(v1); return err }, s.peer.NetConn(), len(packet)),
		"to the client": way(func() error {
			copy(packet[transport.Headroom:], contents)
			return s.peer.WriteInPlace(packet)
		}, s.client, len(v1)),
	} {
		for range 3 {
			round()
		}
		_, size := mallocs(func() {
			for range rounds {
				round()
			}
		})
		if size/rounds > uint64(len(v1))/10 {
			t.Errorf("%s: allocated %d bytes per message of %d", what, size/rounds, len(v1))
		}
	}
}
