package transport

import (
	"fmt"
	"time"

	"bip324proxy/internal/stream"
)

// Memory bounds the memory of large packets that are being received, of all
// connections that have it in their Config.
type Memory = stream.Memory

// NewMemory returns a budget of size bytes. It should have room for several
// packets of MaxContents: one that does not fit ends its connection.
func NewMemory(size int) *Memory { return stream.NewMemory(size) }

// Config is what a handshake and its connection must be told. Only Magic is
// needed; with the rest zero the connection looks like Bitcoin Core's.
type Config struct {
	// Magic is the network's message start, in wire order.
	Magic [4]byte

	// First are the contents of packets, each at most MaxContents bytes, that
	// leave together with our version packet: an initiator's VERSION message.
	First [][]byte

	// Received are bytes that were read from the connection before: what the peer
	// said first, at most MaxReceived. Only an initiator can have some.
	Received []byte

	// Garbage is sent behind our public key, at most MaxGarbage bytes. Nil
	// means random bytes of a random length, uniform from 0 to MaxGarbage.
	Garbage []byte

	// Decoys are the contents sizes, in bytes, of decoy packets sent before our
	// version packet. They leave in one write with it, so together they should
	// fit into a socket's buffers.
	Decoys []int

	// Version is the contents of our version packet, which BIP324 reserves for
	// extensions. Peers ignore it.
	Version []byte

	// FirstByteTimeout limits, if not zero, the time to the peer's first byte;
	// an initiator has sent its key by then. When it passes, the handshake fails
	// with ErrSilent. The whole handshake is limited by its context.
	FirstByteTimeout time.Duration

	// Turns, if not nil, is shared by handshakes of which no more than it has room
	// for make a key or derive one at a time; that is nearly all of their work. The
	// others wait for their turn, in order and as long as their context lasts.
	Turns chan struct{}

	// ReadTimeout makes ReadPacket fail, if not zero, when nothing has arrived
	// for so long, give or take an eighth.
	ReadTimeout time.Duration

	// Memory is the budget for packets of over 16 KiB that are received. Several
	// connections may share one; those that find it used up wait, in turn. It wants
	// a ReadTimeout, without which a peer may keep its part for ever. Nil
	// means the heap, without a bound.
	Memory *Memory

	// WriteTimeout makes a write fail, if not zero, that the peer does not take
	// for so long, give or take an eighth.
	WriteTimeout time.Duration
}

// check refuses what BIP324 and Bitcoin Core would refuse at the other end.
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
	return nil
}
