package transport

import (
	"fmt"
	"time"

	"bip324proxy/internal/stream"
)

// Memory limits the memory of large packets that are being received, of all connections
// with it in their Config.
type Memory stream.Memory

// NewMemory returns a Memory of size bytes. It should be several times MaxContents: a
// packet larger than size ends its connection.
func NewMemory(size int) *Memory { return (*Memory)(stream.NewMemory(size)) }

// NewReclaimingMemory is NewMemory, but connections that share it cannot keep it from each
// other: while a packet waits for memory, a connection whose peer sends or takes a packet of
// over 16 KiB at under 16 KiB/s ends with ErrReclaimed, if its memory is needed. The rate is
// measured over two seconds, and is twice as high after each ten that a packet has waited.
func NewReclaimingMemory(size int) *Memory { return (*Memory)(stream.NewReclaimingMemory(size)) }

// MemoryUsage is how much of a Memory is in use.
type MemoryUsage struct {
	Size    int `json:"size_bytes"`
	Taken   int `json:"taken_bytes"` // by packets, arrived or not
	Waiting int `json:"waiting"`     // packets that wait for memory
}

// Usage reports how much is in use.
func (m *Memory) Usage() MemoryUsage { return MemoryUsage((*stream.Memory)(m).Usage()) }

// Config configures a handshake and its connection. Only Magic is required, and in a
// fallback.Dialer not even that. With all else zero the sizes on the wire are those of
// Bitcoin Core's connections. The times are not always: over a short round trip Core sends
// VERSION up to 100 ms after its version packet, while First leaves with it; see ShapeCore.
type Config struct {
	// Magic is the network's message start, in wire order.
	Magic [4]byte

	// First has the contents of packets, each at most MaxContents bytes, that are sent
	// together with our version packet, or with ShapeCore up to 100 ms later: an
	// initiator's VERSION message.
	First [][]byte

	// Received has what was read from the connection before, at most MaxReceived
	// bytes.
	Received []byte

	// Garbage is sent after our public key, at most MaxGarbage bytes. Nil means random
	// bytes of a random length, uniform from 0 to MaxGarbage.
	Garbage []byte

	// Decoys has the contents sizes, in bytes, of decoy packets that are sent before
	// our version packet, in one write with it; together they should fit into a socket's
	// buffers.
	Decoys []int

	// Version has the contents of our version packet, which BIP324 reserves for
	// extensions. Peers ignore it.
	Version []byte

	// FirstByteTimeout, if not zero, limits the wait for the peer's first byte; then
	// the handshake fails with ErrSilent. The context limits the whole handshake.
	FirstByteTimeout time.Duration

	// Semaphore, if not nil, limits computation: at most cap(Semaphore) handshakes that
	// share it do curve arithmetic at once, which is nearly all of their work. The
	// others wait, in order, until their context ends.
	Semaphore chan struct{}

	// ReadTimeout, if not zero, makes ReadPacket fail when nothing has arrived for so
	// long, give or take an eighth. The next call waits again. A packet of over 16 KiB must
	// then also arrive within ten minutes; otherwise the error is final.
	ReadTimeout time.Duration

	// Memory holds received packets of over 16 KiB. Connections that share it wait, in
	// order, for at most ten minutes, while it is used up; it needs a ReadTimeout, or a peer
	// could hold its part for ever. Nil means the heap, without a limit.
	Memory *Memory

	// WriteTimeout, if not zero, makes a write fail with os.ErrDeadlineExceeded, and all
	// later ones with ErrStalled, when the peer takes nothing for so long, give or take an
	// eighth, or has not taken a packet of over 16 KiB within ten minutes. If that was a cell of
	// Shape, all return ErrStalled.
	WriteTimeout time.Duration

	// Shape hides the sizes and the times of what is sent; see the modes. It begins in the
	// handshake: from the second write on. A Handshake without a Conn has that part only.
	Shape Shape
}

// check returns an error if the peer, by BIP324 or Bitcoin Core, would refuse c.
func (c *Config) check() error {
	if len(c.Received) > MaxReceived {
		return fmt.Errorf("%d bytes received before the handshake, over the limit of %d", len(c.Received), MaxReceived)
	}
	if len(c.Garbage) > MaxGarbage {
		return fmt.Errorf("garbage of %d bytes, over the limit of %d", len(c.Garbage), MaxGarbage)
	}
	for _, contents := range append([][]byte{c.Version}, c.First...) {
		if len(contents) > MaxContents {
			return &SizeError{Contents: len(contents)}
		}
	}
	for _, n := range c.Decoys {
		if n < 0 || n > MaxContents {
			return &SizeError{Contents: n}
		}
	}
	if err := c.Shape.check(); err != nil {
		return fmt.Errorf("shape: %w", err)
	}
	return nil
}
