package transport

import (
	"context"
	"errors"
	"os"
	"time"

	"bip324proxy/internal/random"
	"bip324proxy/internal/stream"
)

// coreVersionDelay is the longest time from the start of a connection until Bitcoin Core
// queues its VERSION: its message handler runs every 100 ms, and earlier when a peer has
// sent a message (CConnman::ThreadMessageHandler).
const coreVersionDelay = 100 * time.Millisecond

// heldFirst times Config.First as Bitcoin Core does: what is queued when the peer's key
// arrives leaves with the version packet, what is queued later leaves by itself.
type heldFirst struct {
	size int       // of the packets; 0 if they always leave with the version packet
	due  time.Time // when Core queues its VERSION
	held []byte    // the packets, while they wait
}

// holdFirst returns the times of h, whose first flight has just been sent.
func (h *Handshake) holdFirst() (f heldFirst) {
	if !h.initiator || h.cfg.Shape.Mode != ShapeCore {
		return f
	}
	for _, contents := range h.cfg.First {
		f.size += packetSize(len(contents))
	}
	f.due = time.Now().Add(random.N(coreVersionDelay) + 1)
	return f
}

// split returns the part of the second flight that leaves now, and keeps the rest. Reads
// from nc then time out when the rest is due.
func (f *heldFirst) split(flight []byte, nc *stream.Socket) []byte {
	if len(flight) == 0 || f.size == 0 || !time.Now().Before(f.due) {
		return flight
	}
	n := len(flight) - f.size
	f.held = flight[n:]
	nc.SetReadDeadline(f.due)
	return flight[:n]
}

// timedOut reports whether err, of a read, only says that the rest is due.
func (f *heldFirst) timedOut(err error) bool {
	return f.held != nil && errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(f.due)
}

// wait waits until the rest, if there is one, is due. The error is the context's cause.
func (f *heldFirst) wait(ctx context.Context) error {
	if f.held == nil {
		return nil
	}
	timer := time.NewTimer(time.Until(f.due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// release returns the rest, nil if there is none, and removes the deadline of nc.
func (f *heldFirst) release(nc *stream.Socket) []byte {
	rest := f.held
	if rest != nil {
		f.held = nil
		nc.SetReadDeadline(time.Time{})
	}
	return rest
}
