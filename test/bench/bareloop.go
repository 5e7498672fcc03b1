package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

const (
	batchSize = 16 << 10                // messages up to here are read and written together, as many as fit
	readSize  = 256 << 10               // the most to read at once of larger ones
	wakeAt    = 32 << 10                // so much of larger ones must have arrived to wake the reader
	spare     = 64                      // before the input, where a v1 header replaces a packet's shorter one
	inputSize = 4<<20 + v1v2.HeaderSize // the largest message
)

// bareLoop translates between a v1 client and a v2 peer as the proxy does, and does nothing else: no deadlines, no log,
// no limit to memory.
func bareLoop(client, peer *net.TCPConn) {
	report := func(err error) {
		if broken := new(net.OpError); err != io.EOF && !errors.As(err, &broken) { // those the ends report
			fmt.Fprintf(os.Stderr, "bare loop: %v\n", err)
		}
	}
	up, down := newHalf(client, peer), newHalf(peer, client)
	session, err := down.handshake()
	if err != nil {
		report(err)
		return
	}
	bothWays(client, peer, func() { report(up.seal(session)) }, func() { report(down.open(session)) })
}

// half is one direction of a session.
type half struct {
	src, dst *net.TCPConn
	mark     int    // src's low-water mark
	in       []byte // in[r:w] is the input, which is translated in place
	r, w     int
	out      []byte // small messages, to be written together
}

func newHalf(src, dst *net.TCPConn) *half {
	return &half{src: src, dst: dst, mark: 1, r: spare, w: spare, in: make([]byte, spare+inputSize+transport.Tailroom)}
}

// await reads until the input has n bytes. Before it reads, it writes the small messages.
func (h *half) await(n int) error {
	if h.w-h.r >= n {
		return nil
	}
	if n > inputSize {
		return fmt.Errorf("a message of %d bytes", n)
	}
	if len(h.out) > 0 {
		if _, err := h.dst.Write(h.out); err != nil {
			return err
		}
		h.out = h.out[:0]
	}
	h.r, h.w = spare, spare+copy(h.in[spare:], h.in[h.r:h.w])
	for have := h.w - h.r; have < n; have = h.w - h.r {
		most, mark := batchSize-have, 1
		if n > batchSize { // nothing of the next message, which sealing would overwrite
			most, mark = min(n-have, readSize), min(n-have, wakeAt)
		}
		if mark != h.mark {
			setLowWaterMark(h.src, mark)
			h.mark = mark
		}
		k, err := h.src.Read(h.in[h.w : h.w+most])
		if err != nil {
			return err
		}
		h.w += k
	}
	return nil
}

// handshake performs the v2 handshake with the source, as the initiator.
func (h *half) handshake() (*transport.Session, error) {
	hs, err := transport.NewHandshake(transport.Config{Magic: magic}, true)
	if err != nil {
		return nil, err
	}
	send, n := hs.Start(), 0
	for {
		if _, err := h.src.Write(send); err != nil || hs.Stage() == transport.StageDone {
			return hs.Session(), err
		}
		if err := h.await(1); err != nil {
			return nil, err
		}
		if n, send, err = hs.Receive(h.in[h.r:h.w]); err != nil {
			return nil, err
		}
		h.r += n
	}
}

// open translates packets to v1 messages.
func (h *half) open(s *transport.Session) error {
	for {
		if err := h.await(3); err != nil {
			return err
		}
		n, err := s.OpenLength(h.in[h.r : h.r+3])
		if err != nil {
			return err
		}
		h.r += 3
		if err := h.await(n); err != nil {
			return err
		}
		contents, _, err := s.Open(h.in[h.r : h.r+n])
		if err != nil {
			return err
		}
		h.r += n
		t, payload, ok := v1v2.Decode(contents)
		if !ok {
			continue
		}
		end := h.r - transport.Tailroom
		message := h.in[end-len(payload)-v1v2.HeaderSize : end]
		copy(message, magic[:])
		copy(message[4:], t[:])
		binary.LittleEndian.PutUint32(message[16:], uint32(len(payload)))
		sum := checksum(payload)
		copy(message[20:], sum[:])
		if n <= batchSize {
			h.out = append(h.out, message...)
		} else if _, err := h.dst.Write(message); err != nil {
			return err
		}
	}
}

// seal translates v1 messages to packets.
func (h *half) seal(s *transport.Session) error {
	var room [1 + len(v1v2.Type{})]byte
	for {
		if err := h.await(v1v2.HeaderSize); err != nil {
			return err
		}
		n := v1v2.HeaderSize + int(binary.LittleEndian.Uint32(h.in[h.r+16:]))
		if err := h.await(n); err != nil {
			return err
		}
		message := h.in[h.r : h.r+n]
		h.r += n
		if checksum(message[v1v2.HeaderSize:]) != [4]byte(message[20:]) {
			return errors.New("wrong checksum")
		}
		head := v1v2.AppendContents(room[:0], v1v2.Type(message[4:]), nil)
		contents := message[v1v2.HeaderSize-len(head):]
		copy(contents, head)
		dst := h.out
		if n > batchSize {
			at := h.r - len(contents) - transport.Headroom
			dst = h.in[at:at] // in place
		}
		packets, err := s.Seal(dst, contents, false)
		if err != nil {
			return err
		}
		if n <= batchSize {
			h.out = packets
		} else if _, err := h.dst.Write(packets); err != nil {
			return err
		}
	}
}
