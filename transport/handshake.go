package transport

import (
	"bytes"
	"crypto/rand"

	"bip324proxy/internal/random"
)

const (
	// MaxGarbage is the maximum size of garbage, in bytes.
	MaxGarbage = 4095

	// MaxReceived is the maximum size, in bytes, of what a peer sends before it has our
	// key: its own key and garbage.
	MaxReceived = KeySize + MaxGarbage

	// v1PrefixSize is the size of the part of a v1 VERSION header that tells it from a
	// v2 key: magic and type.
	v1PrefixSize = 16

	// v1HeaderSize is the size of a v1 header: magic, type, length and checksum.
	v1HeaderSize = 24
)

// Handshake is a BIP324 handshake without a socket: Receive takes what the peer sent,
// in any chunking, and returns what to send.
//
//	initiator                              responder
//	key + garbage                 ────▶    StageKey
//	StageKey                      ◀────    key + garbage + terminator + version packet
//	terminator + version packet   ────▶    StageGarbage, StageVersion
//	StageGarbage, StageVersion
//	StageDone                              StageDone
//
// Neither side waits for the other's version packet, so an initiator's first message,
// Config.First, is sent together with its own.
type Handshake struct {
	cfg       Config
	initiator bool
	stage     Stage
	err       error

	started  bool // our key and garbage have been returned
	key      *privateKey
	garbage  []byte // ours
	theirs   [KeySize]byte
	received int // bytes consumed

	keys     *sessionKeys
	out      *direction
	filler   int        // bytes of decoys that Config.Shape has added
	verifier *verifier  // until StageDone
	in       *direction // from StageDone on

	buf []byte // what has arrived of the peer's garbage and terminator
	aad []byte // the peer's garbage, until its first packet has arrived
}

// NewHandshake returns a handshake as the initiator, the side that opened the
// connection, or as the responder.
func NewHandshake(cfg Config, initiator bool) (*Handshake, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	h := &Handshake{cfg: cfg, initiator: initiator}
	if initiator {
		h.key = newPrivateKey()
	}
	return h, nil
}

// Stage returns the handshake's progress.
func (h *Handshake) Stage() Stage { return h.stage }

// Received returns how many bytes Receive has consumed.
func (h *Handshake) Received() int { return h.received }

// Start returns an initiator's first flight, key and garbage, to be sent in one write.
// For a responder it returns nil.
func (h *Handshake) Start() []byte {
	if !h.initiator || h.started {
		return nil
	}
	return h.start()
}

// start makes the garbage, and the key of a responder: a connection that never shows that
// it is not v1 costs neither.
func (h *Handshake) start() []byte {
	h.started = true
	if h.key == nil {
		h.key = newPrivateKey()
	}
	if h.garbage = h.cfg.Garbage; h.garbage == nil { // like Bitcoin Core's
		h.garbage = make([]byte, random.N(MaxGarbage+1))
		rand.Read(h.garbage)
	}
	return append(bytes.Clone(h.key.public[:]), h.garbage...)
}

// Receive takes bytes that the peer sent. It returns how many it consumed, all unless
// the handshake is done, and what to send, in one write. Bytes after the handshake
// belong to the session. An error is final, and nothing may be sent after it: ErrV1Peer,
// ErrV1OtherNetwork, ErrNoTerminator, ErrAuthentication or a *SizeError.
func (h *Handshake) Receive(in []byte) (n int, send []byte, err error) {
	if h.err != nil {
		return 0, nil, h.err
	}
	for n < len(in) && h.stage < StageDone {
		var took int
		switch h.stage {
		case StageKey:
			var more []byte
			took, more, err = h.receiveKey(in[n:])
			send = append(send, more...)
		case StageGarbage:
			took, err = h.receiveGarbage(in[n:])
		case StageVersion:
			took, err = h.receivePacket(in[n:])
		}
		n += took
		h.received += took
		if err != nil {
			h.err = err
			h.Wipe()
			return n, nil, err
		}
	}
	return n, send, nil
}

// receiveKey takes bytes of the peer's key and, when it is complete, derives the
// session.
func (h *Handshake) receiveKey(in []byte) (n int, send []byte, err error) {
	have := h.received
	n = copy(h.theirs[have:], in)
	have += n
	if !h.initiator && !h.started {
		// A responder sends nothing until it knows that this is not v1.
		prefix := v1Prefix(h.cfg.Magic)
		seen := min(have, v1PrefixSize)
		if bytes.Equal(h.theirs[:seen], prefix[:seen]) {
			if seen == v1PrefixSize {
				err = ErrV1Peer
			}
			return n, nil, err
		}
		send = h.start()
	}
	if err := h.v1Answer(have); err != nil {
		return n, nil, err
	}
	if have < KeySize {
		return n, send, nil
	}
	if err := h.deriveSession(); err != nil {
		return n, nil, err
	}
	h.stage = StageGarbage
	return n, h.appendVersion(send), nil
}

// ReceivedV1 reports whether c.Received begins with a v1 VERSION header of c's
// network.
func (c *Config) ReceivedV1() bool {
	prefix := v1Prefix(c.Magic)
	return len(c.Received) >= v1HeaderSize && bytes.HasPrefix(c.Received, prefix[:])
}

// v1Answer returns an error if the peer sent a v1 VERSION header instead of a key. One
// of this network must be complete, since the error may lead to v1.
func (h *Handshake) v1Answer(have int) error {
	switch prefix := v1Prefix(h.cfg.Magic); {
	case have < v1PrefixSize || !bytes.Equal(h.theirs[4:v1PrefixSize], prefix[4:]):
		return nil
	case [4]byte(h.theirs[:]) != h.cfg.Magic:
		return ErrV1OtherNetwork
	case have < v1HeaderSize:
		return nil
	}
	return ErrV1Peer
}

// v1Prefix returns the first 16 bytes of every v1 connection.
func v1Prefix(magic [4]byte) (p [v1PrefixSize]byte) {
	copy(p[:], magic[:])
	copy(p[4:], "version")
	return p
}

func (h *Handshake) deriveSession() (err error) {
	scrubStack()
	defer scrubStack()
	var secret [32]byte
	h.key.ecdh(&secret, &h.theirs, h.initiator)
	h.key.wipe()
	h.keys = deriveKeys(&secret, h.cfg.Magic, h.initiator)
	clear(secret[:])
	if h.out, err = newDirection(&h.keys.sendL, &h.keys.sendP); err == nil {
		h.verifier = newVerifier(&h.keys.recvL, &h.keys.recvP)
	}
	h.keys.wipe()
	return err
}

// appendVersion appends our terminator, decoys, version packet and first messages to
// b. The first packet authenticates our garbage.
func (h *Handshake) appendVersion(b []byte) []byte {
	later := len(b) == 0 // the key was sent before
	b = append(b, h.keys.sendTerminator[:]...)
	aad := h.garbage
	for _, n := range h.cfg.Decoys {
		b = h.out.seal(b, make([]byte, n), aad, true)
		aad = nil
	}
	h.garbage = nil
	b = h.out.seal(b, h.cfg.Version, aad, false)
	for _, contents := range h.cfg.First {
		b = h.out.seal(b, contents, nil, false)
	}
	if later {
		n := len(b)
		b = h.cfg.Shape.fillHandshake(b, h.out, &h.keys.sessionID, h.initiator)
		h.filler = len(b) - n
	}
	return b
}

// receiveGarbage takes bytes of the peer's garbage, up to the terminator.
func (h *Handshake) receiveGarbage(in []byte) (n int, err error) {
	old := len(h.buf)
	n = min(len(in), MaxGarbage+terminatorSize-old)
	h.buf = append(h.buf, in[:n]...)
	from := max(0, old-terminatorSize+1)
	at := bytes.Index(h.buf[from:], h.keys.recvTerminator[:])
	if at < 0 {
		if len(h.buf) == MaxGarbage+terminatorSize {
			return n, ErrNoTerminator
		}
		return n, nil
	}
	garbage := from + at
	h.aad = h.buf[:garbage:garbage]
	h.buf = nil
	h.stage = StageVersion
	return garbage + terminatorSize - old, nil
}

// receivePacket takes bytes of a decoy, or of the version packet, whose contents are
// ignored and which ends the handshake.
func (h *Handshake) receivePacket(in []byte) (n int, err error) {
	n, whole, decoy, err := h.verifier.receive(in, h.aad)
	if err != nil || !whole {
		return n, err
	}
	h.aad = nil
	if decoy {
		return n, nil
	}
	if h.in, err = h.verifier.finish(); err != nil {
		return n, err
	}
	h.stage = StageDone
	return n, nil
}

// Session returns the established session, or nil before StageDone.
func (h *Handshake) Session() *Session {
	if h.stage < StageDone {
		return nil
	}
	return &Session{id: h.keys.sessionID, out: h.out, in: h.in}
}

// Wipe zeroes the private key and, unless the session is established, all derived
// keys. Receive calls it when the handshake fails; the caller must if it gives up.
func (h *Handshake) Wipe() {
	if h.key != nil {
		h.key.wipe()
	}
	if h.keys != nil {
		h.keys.wipe()
	}
	if h.stage < StageDone && h.verifier != nil {
		h.out.wipe()
		h.verifier.wipe()
	}
	scrubStack() // sealing and opening left keys there
}
