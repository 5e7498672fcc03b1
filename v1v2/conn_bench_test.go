//go:build unix

package v1v2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
)

// The benchmarks of this file compare Conn's Read and Write with the proxy's two loops, in memory and in one
// goroutine: what remains is what they compute and copy. They alternate, so that disturbances affect all, and
// count the CPU time of the process, garbage collection included. Each copies a message once out of the session's
// memory: the loop into its socket, as the kernel does, and Read into its caller's buffer.
//
//	go test ./v1v2 -run '^$' -bench Conn

var connLoads = []struct {
	name string
	message
}{
	{"ping", message{"ping", testBytes(8, 1)}},
	{"inv37", message{"inv", testBytes(37, 1)}},
	{"tx20kB", message{"tx", testBytes(20_000, 1)}},
	{"block1.5MB", message{"block", testBytes(1_500_000, 1)}},
	{"block4MB", message{"block", testBytes(MaxPayload, 1)}},
}

// socketBuffer is as much as Linux buffers of what is written to a socket, in bytes.
const socketBuffer = 4 << 20

// memorySocket is a connection whose Read copies from in, and times out at its end. Write copies to out, or appends
// if grow is set.
type memorySocket struct {
	net.Conn
	in   []byte
	out  []byte
	grow bool
}

func (m *memorySocket) Read(p []byte) (int, error) {
	if len(m.in) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, m.in)
	m.in = m.in[n:]
	return n, nil
}

func (m *memorySocket) Write(p []byte) (n int, err error) {
	if m.grow {
		m.out = append(m.out, p...)
		return len(p), nil
	}
	for n < len(p) {
		n += copy(m.out, p[n:])
	}
	return n, nil
}

func (m *memorySocket) SetReadDeadline(time.Time) error  { return nil }
func (m *memorySocket) SetWriteDeadline(time.Time) error { return nil }

// through is a connection whose other side can be replaced.
type through struct{ net.Conn }

// way is one of those that a benchmark compares: a session of its own.
type way struct {
	name string
	conn *Conn
	side *memorySocket   // conn's
	peer *transport.Conn // the other end
	back *memorySocket   // peer's
	cpu  []time.Duration // of each round
	mem  uint64          // allocations
	run  func(l *way, n int) error
}

// newWay performs a handshake and then replaces both sockets by memory. With room, large messages are in a Memory.
func newWay(b *testing.B, name string, room bool, run func(l *way, n int) error) *way {
	x, y := net.Pipe()
	connSide, peerSide := &through{x}, &through{y}
	done := make(chan error, 1)
	l := &way{name: name, run: run}
	go func() {
		var err error
		l.peer, err = transport.Server(b.Context(), peerSide, transport.Config{Magic: mainnet})
		done <- err
	}()
	cfg := transport.Config{Magic: mainnet}
	if room {
		cfg.Memory = transport.NewMemory(32 << 20)
	}
	var err error
	if l.conn, err = Client(b.Context(), connSide, cfg); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	l.side, l.back = &memorySocket{out: make([]byte, socketBuffer)}, &memorySocket{grow: true}
	connSide.Conn, peerSide.Conn = l.side, l.back
	return l
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compare runs the ways alternately, n messages in each round, prepared by prepare, and reports the CPU time for a
// message of each, the median, and the median of its ratio to the first one's.
func compare(b *testing.B, ways []*way, n int, prepare func(l *way)) {
	const warm = 4
	for round := 0; round < warm || b.Loop(); round++ {
		for i := range ways {
			l := ways[(i+round)%len(ways)]
			prepare(l)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := cpuTime()
			if err := l.run(l, n); err != nil {
				b.Fatal(l.name, err)
			}
			spent := cpuTime() - begin
			if runtime.ReadMemStats(&after); round >= warm {
				l.cpu = append(l.cpu, spent)
				l.mem += after.Mallocs - before.Mallocs
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, l := range ways {
		ratios := make([]float64, len(l.cpu))
		for i, d := range l.cpu {
			ratios[i] = float64(d) / float64(ways[0].cpu[i])
		}
		slices.Sort(ratios)
		slices.Sort(l.cpu)
		b.ReportMetric(float64(l.cpu[len(l.cpu)/2])/float64(n), l.name+"-ns")
		b.ReportMetric(float64(l.mem)/float64(n*len(l.cpu)), l.name+"-allocs")
		if l != ways[0] {
			b.ReportMetric(ratios[len(ratios)/2], l.name+"-ratio")
		}
	}
}

// atEnd returns err unless the memory's end caused it.
func atEnd(_ int64, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// readMessages reads n messages as btcd's wire package does: a header, then its payload, here into one buffer.
func readMessages(r io.Reader, n int, buf []byte) error {
	var head [HeaderSize]byte
	for range n {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, buf[:binary.LittleEndian.Uint32(head[16:])]); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkConnRead compares Read with WriteTo.
func BenchmarkConnRead(b *testing.B) {
	for _, load := range connLoads {
		b.Run(load.name, func(b *testing.B) {
			contents := v2Bytes(load.message.name, load.payload)
			n := max(2, min(2000, 6_000_000/len(contents)))
			prepare := func(l *way) {
				l.back.out = l.back.out[:0]
				for range n {
					if err := l.peer.Queue(contents); err != nil {
						b.Fatal(err)
					}
				}
				l.peer.Flush()
				l.side.in = l.back.out
			}
			loop := func(dst io.Writer) func(l *way, n int) error {
				return func(l *way, n int) error {
					return atEnd(l.conn.WriteTo(dst))
				}
			}
			buf := make([]byte, MaxPayload)
			read := func(l *way, n int) error { return readMessages(l.conn, n, buf) }
			socket := &memorySocket{out: make([]byte, socketBuffer)}
			compare(b, []*way{
				newWay(b, "loop", true, loop(stream.NewWriter(socket))),
				newWay(b, "loop-discard", true, loop(stream.NewWriter(onlyWriter{w: io.Discard}))),
				newWay(b, "conn", true, read),
				newWay(b, "conn-heap", false, read),
			}, n, prepare)
		})
	}
}

// BenchmarkConnWrite compares Write with ReadFrom.
func BenchmarkConnWrite(b *testing.B) {
	for _, load := range connLoads {
		b.Run(load.name, func(b *testing.B) {
			raw := v1Bytes(mainnet, load.message.name, load.payload)
			n := max(2, min(2000, 6_000_000/len(raw)))
			all := bytes.Repeat(raw, n)
			memory := stream.NewMemory(32 << 20)
			loop := func(l *way, n int) error {
				in := stream.NewReader(&memorySocket{in: all})
				in.SetMemory(memory)
				return atEnd(l.conn.ReadFrom(NewReader(in, mainnet)))
			}
			write := func(pieces ...int) func(l *way, n int) error {
				return func(l *way, n int) error {
					for range n {
						rest := raw
						for i := 0; len(rest) > 0; i++ {
							k := min(len(rest), pieces[min(i, len(pieces)-1)])
							if _, err := l.conn.Write(rest[:k]); err != nil {
								return err
							}
							rest = rest[k:]
						}
					}
					return nil
				}
			}
			compare(b, []*way{
				newWay(b, "loop", true, loop),
				newWay(b, "whole", true, write(len(raw))),
				newWay(b, "two", true, write(HeaderSize, len(raw))),
				newWay(b, "32k", true, write(32<<10)),
				newWay(b, "copy", true, func(l *way, n int) error {
					_, err := io.Copy(l.conn, onlyReader{r: bytes.NewReader(all)})
					return err
				}),
			}, n, func(*way) {})
		})
	}
}
