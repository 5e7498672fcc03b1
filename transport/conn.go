package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"bip324proxy/internal/stream"
)

// Conn is an established BIP324 connection. One goroutine may read while
// others write: the two directions share nothing.
type Conn struct {
	socket    *stream.Socket
	sessionID [32]byte
	in        receiving
	out       sending
}

// receiving is the direction from the peer.
type receiving struct {
	r    *stream.Reader
	open *opener
	size int         // contents of the packet at hand; -1 before its length is known
	body stream.Body // memory of the last packet, if it was large
	next []byte      // contents that PacketBuffered came upon
	err  error       // stays
}

// sending is the direction to the peer.
type sending struct {
	mu   sync.Mutex
	w    *stream.Writer
	seal *sealer
}

// Client performs the handshake as the initiator on nc, a connection that has
// just been opened. The context limits the handshake, not the connection. On
// failure nc is closed and the error is a *HandshakeError, unless cfg itself is
// at fault.
func Client(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	return newConn(ctx, nc, cfg, true)
}

// Server performs the handshake as the responder on nc, a connection that has
// just been accepted. It is like Client in all else. The error of a peer that
// speaks v1 wraps ErrV1Peer, and nothing has been sent; but its first bytes have
// been read, so a node that serves v1 on the same port must look at them first.
func Server(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	return newConn(ctx, nc, cfg, false)
}

func newConn(ctx context.Context, nc net.Conn, cfg Config, initiator bool) (*Conn, error) {
	var h *Handshake
	var err error
	if late := cfg.inTurn(ctx, func() { h, err = NewHandshake(cfg, initiator) }); late != nil {
		err = &HandshakeError{Stage: StageKey, Err: late}
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	socket := stream.NewSocket(nc)
	r := stream.NewReader(socket)
	if len(cfg.Received) > 0 {
		r.Unread(cfg.Received)
	}
	if err := shakeHands(ctx, socket, r, h); err != nil {
		h.Wipe()
		nc.Close()
		return nil, err
	}
	w := stream.NewWriter(nc)
	r.SetMemory(cfg.Memory)
	r.SetIdle(cfg.ReadTimeout)
	w.SetStall(cfg.WriteTimeout)
	session := h.Session()
	return &Conn{
		socket:    socket,
		sessionID: session.id,
		in:        receiving{r: r, open: session.open, size: -1},
		out:       sending{w: w, seal: session.seal},
	}, nil
}

// shakeHands drives h with the socket until the session stands. It leaves nc
// without a deadline.
func shakeHands(ctx context.Context, nc *stream.Socket, r *stream.Reader, h *Handshake) error {
	stop := context.AfterFunc(ctx, nc.Abort)
	sent := 0
	fail := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		stop()
		received, first := h.Received(), h.first()
		if received == 0 {
			received = r.Buffered() // an answer, though there was no use for it
			first, _ = r.Peek(min(received, v1PrefixSize))
		}
		return &HandshakeError{Stage: h.Stage(), Sent: sent, Received: received, Err: err, First: bytes.Clone(first)}
	}
	write := func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		n, err := nc.Write(b)
		sent += n
		if err != nil { // the peer may have answered before it hung up
			nc.SetReadDeadline(time.Now().Add(lastWords))
			r.Peek(r.Buffered() + 1)
		}
		return err
	}

	if err := write(h.Start()); err != nil {
		return fail(err)
	}
	r.Expect()
	if d := h.cfg.FirstByteTimeout; d > 0 {
		if err := awaitFirstByte(nc, r, d); err != nil {
			return fail(err)
		}
	}
	for h.Stage() < StageDone {
		r.Expect() // up to 4 KiB of garbage
		if _, err := r.Peek(1); err != nil {
			return fail(err)
		}
		in, _ := r.Peek(r.Buffered())
		var n int
		var send []byte
		var err error
		receive := func() { n, send, err = h.Receive(in) }
		if h.Stage() > StageKey {
			receive()
		} else if late := h.cfg.inTurn(ctx, receive); late != nil {
			return fail(late)
		}
		r.Discard(n)
		if err != nil {
			return fail(err)
		}
		if err := write(send); err != nil {
			return fail(err)
		}
	}
	if !stop() {
		return fail(context.Cause(ctx)) // the socket is aborted
	}
	return nil
}

// lastWords is how long an answer is looked for on a connection that takes no more.
const lastWords = 100 * time.Millisecond

// inTurn calls f when it is its turn. The error is the context's cause if that ends
// first.
func (c *Config) inTurn(ctx context.Context, f func()) error {
	if c.Turns != nil {
		select {
		case c.Turns <- struct{}{}:
			defer func() { <-c.Turns }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	f()
	return nil
}

// awaitFirstByte waits for the peer's first byte, for at most d.
func awaitFirstByte(nc *stream.Socket, r *stream.Reader, d time.Duration) error {
	until := time.Now().Add(d)
	nc.SetReadDeadline(until)
	_, err := r.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) && !nc.Interrupted() && !time.Now().Before(until) {
		return ErrSilent
	}
	nc.SetReadDeadline(time.Time{})
	return err
}

// SessionID returns BIP324's session id. If both ends show the same one, no
// one sits between them; Bitcoin Core shows it in getpeerinfo.
func (c *Conn) SessionID() [32]byte { return c.sessionID }

// NetConn returns the connection underneath. Reading from it or writing to it
// breaks the session.
func (c *Conn) NetConn() net.Conn { return c.socket.NetConn() }

// ReadPacket returns the contents of the next packet that is not a decoy. They
// are valid until the next call, and may be overwritten. At the end of the
// stream between packets the error is io.EOF, within one io.ErrUnexpectedEOF.
// ErrAuthentication and *SizeError mean that the connection is of no more use.
// All errors but a deadline between packets stay.
func (c *Conn) ReadPacket() ([]byte, error) {
	in := &c.in
	in.body.Release()
	if contents := in.next; contents != nil {
		in.next = nil
		return contents, nil
	}
	for {
		contents, decoy, err := in.read()
		if err != nil {
			return nil, err
		}
		if !decoy {
			return contents, nil
		}
	}
}

// LastPacket returns what ReadPacket returned last, with n bytes before it, at
// most Spare, that are the caller's to write to; or nil if there is no room,
// because the packet was small and lies among others. Like ReadPacket it belongs
// to the reading goroutine.
func (c *Conn) LastPacket(n int) []byte {
	b := c.in.body.Bytes
	if b == nil {
		return nil
	}
	return b[Spare+headerSize-n : len(b)-Tailroom]
}

// Release gives back the memory of the last packet, whose contents are gone then,
// when ReadPacket is not to be called again. Like that it belongs to the reading
// goroutine.
func (c *Conn) Release() {
	c.in.next = nil
	c.in.body.Release()
	c.in.r.Release()
}

// PacketBuffered says that ReadPacket would return without waiting for the
// socket. Like ReadPacket it belongs to the reading goroutine.
func (c *Conn) PacketBuffered() bool {
	in := &c.in
	for in.next == nil && in.err == nil {
		if in.size < 0 && in.r.Buffered() < lengthSize {
			return false
		}
		if in.readLength() == nil && in.r.Buffered() < in.rest() {
			return false
		}
		if contents, decoy, err := in.read(); err == nil && !decoy {
			in.next = contents
		}
	}
	return true
}

// Interrupt makes ReadPacket fail with os.ErrDeadlineExceeded when it would
// next wait for the socket. It is safe to call from any goroutine.
func (c *Conn) Interrupt() { c.socket.Interrupt() }

// readLength makes size known.
func (in *receiving) readLength() error {
	if in.size >= 0 {
		return nil
	}
	b, err := in.r.Peek(lengthSize)
	if err != nil {
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case err == io.EOF && len(b) > 0:
			err = io.ErrUnexpectedEOF
		}
		in.err = err
		return err
	}
	size, err := in.open.openLength(b)
	if err != nil {
		in.err = err
		return err
	}
	in.r.Discard(lengthSize)
	in.size = size
	return nil
}

// rest is the size of the packet at hand behind its length.
func (in *receiving) rest() int { return packetSize(in.size) - lengthSize }

// read reads one packet. A small one is opened where it lies in the reader's
// buffer, a large one in memory of its own.
func (in *receiving) read() (contents []byte, decoy bool, err error) {
	if in.err != nil {
		return nil, false, in.err
	}
	in.body.Release() // a decoy's
	if err := in.readLength(); err != nil {
		return nil, false, err
	}
	var b []byte
	if n := in.rest(); n <= in.r.Size() {
		b, err = in.r.Peek(n)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		defer in.r.Discard(len(b))
	} else {
		if err = in.r.ReadBody(&in.body, Spare, n, 0, nil); err == nil {
			b = in.body.Bytes[Spare:]
		}
	}
	if err == nil {
		contents, decoy, err = in.open.open(b, nil)
	}
	in.size, in.err = -1, err
	return contents, decoy, err
}

// WritePacket sends contents, at most MaxContents bytes, as one packet in one
// write, behind whatever was queued.
func (c *Conn) WritePacket(contents []byte) error { return c.write(contents, false) }

// WriteDecoy sends a packet that the peer ignores.
func (c *Conn) WriteDecoy(contents []byte) error { return c.write(contents, true) }

func (c *Conn) write(contents []byte, decoy bool) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if err := c.out.queue(contents, decoy); err != nil {
		return err
	}
	return c.out.w.Flush()
}

// Queue seals contents into a packet that leaves with the next Flush,
// WritePacket or WriteInPlace, or when 16 KiB have gathered. A packet larger
// than that leaves at once, from memory of its own; WriteInPlace spares it.
func (c *Conn) Queue(contents []byte) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.queue(contents, false)
}

// Flush sends what was queued, in one write.
func (c *Conn) Flush() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.w.Flush()
}

// WriteInPlace sends the contents that lie in b between Headroom spare bytes
// and Tailroom spare bytes, without copying them: b becomes the packet. What
// was queued goes first. It panics if b has no such room.
func (c *Conn) WriteInPlace(b []byte) error {
	contents := b[Headroom : len(b)-Tailroom]
	if len(contents) > MaxContents {
		return &SizeError{Contents: len(contents)}
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.w.FlushWith(c.out.seal.seal(b[:0], contents, nil, false))
}

func (s *sending) queue(contents []byte, decoy bool) error {
	n := packetSize(len(contents))
	switch {
	case len(contents) > MaxContents:
		return &SizeError{Contents: len(contents)}
	case n > stream.BatchSize:
		return s.w.FlushWith(s.seal.seal(nil, contents, nil, decoy))
	}
	if err := s.w.Reserve(n); err != nil {
		return err
	}
	s.w.Buf = s.seal.seal(s.w.Buf, contents, nil, decoy)
	return nil
}

// CloseWrite ends the stream to the peer, once what was queued is sent, and
// leaves the other direction open.
func (c *Conn) CloseWrite() error {
	if err := c.Flush(); err != nil {
		return err
	}
	return c.socket.CloseWrite()
}

// Close closes the connection, at once and in both directions.
func (c *Conn) Close() error { return c.socket.Close() }

// Wipe zeroes the connection's keys. It is for when nobody reads or writes any
// more, nor will.
func (c *Conn) Wipe() {
	c.in.open.wipe()
	c.out.seal.wipe()
	scrubStack()
}
