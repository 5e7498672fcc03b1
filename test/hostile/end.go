package hostile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ellswift"
	"github.com/btcsuite/btcd/v2transport"
)

// MaxGarbage is the most garbage that an End accepts: BIP324's limit.
const MaxGarbage = 4095

// Decoy is the header bit of a packet that the receiver must ignore.
const Decoy = 0x80

// End is one end of a BIP324 connection.
type End struct {
	Keys
	Garbage int    // bytes of garbage received
	Last    []byte // the last packet received, sealed

	script    Script
	nc        net.Conn
	in        *bufio.Reader
	initiator bool
	private   *btcec.PrivateKey
	public    [64]byte
	garbage   []byte // ours, as authenticated
	sealed    int    // packets so far

	sendL, recvL *v2transport.FSChaCha20
	sendP, recvP *v2transport.FSChaCha20Poly1305
}

// Shake performs the handshake on nc.
func (s Script) Shake(nc net.Conn, initiator bool) (*End, error) {
	e, err := s.Speak(nc, initiator)
	if err != nil {
		return e, err
	}
	return e, e.ReadFlight()
}

// Speak sends our side of the handshake and reads only the other end's key.
func (s Script) Speak(nc net.Conn, initiator bool) (*End, error) {
	e, err := s.begin(nc, initiator)
	if err != nil {
		return e, err
	}
	early := initiator || s.KeyFirst || s.KeyAfter > 0
	if early {
		if s.KeyAfter > 0 && !initiator {
			_, err = e.in.Peek(s.KeyAfter)
		}
		if err == nil {
			err = e.write(e.hello())
		}
	}
	if err == nil {
		err = e.readKey()
	}
	if err != nil {
		return e, err
	}
	var hello []byte
	if !early {
		hello = e.hello()
	}
	return e, e.write(slices.Concat(hello, e.secondFlight(), s.Filler))
}

// Prepare is Speak as the responder, without the write: it reads the initiator's key and returns the responder's bytes
// as one flight. ReadFlight reads the initiator's reply to it.
func (s Script) Prepare(nc net.Conn) (e *End, flight []byte, err error) {
	if e, err = s.begin(nc, false); err != nil {
		return e, nil, err
	}
	if err := e.readKey(); err != nil {
		return e, nil, err
	}
	return e, slices.Concat(e.hello(), e.secondFlight(), s.Filler), nil
}

func (s Script) begin(nc net.Conn, initiator bool) (e *End, err error) {
	e = &End{script: s, nc: nc, in: bufio.NewReaderSize(nc, 64<<10), initiator: initiator, garbage: s.Garbage}
	e.private, e.public, err = ellswift.EllswiftCreate()
	return e, err
}

// hello returns key and garbage.
func (e *End) hello() []byte {
	if e.script.GarbageFrom != nil {
		_, terminator := e.terminators()
		e.garbage = e.script.GarbageFrom(terminator)
	}
	sent := bytes.Clone(e.garbage)
	if n := e.script.FlipGarbage; n > 0 {
		sent[(n-1)/8] ^= 1 << ((n - 1) % 8)
	}
	key := e.public
	if e.script.Key != nil {
		key = *e.script.Key
	}
	return append(key[:], sent...)
}

// readKey reads the other end's key and derives the session's keys.
func (e *End) readKey() error {
	var theirs [64]byte
	if _, err := io.ReadFull(e.in, theirs[:]); err != nil {
		return fmt.Errorf("the other end's key: %w", err)
	}
	if e.script.ReflectKey {
		e.script.Key = &theirs
	}
	var err error
	if e.Keys, err = deriveKeys(e.private, e.public, theirs, e.initiator, e.script.magic()); err != nil {
		return err
	}
	sendL, sendP, recvL, recvP := e.InitiatorL, e.InitiatorP, e.ResponderL, e.ResponderP
	if e.initiator == e.script.SwapKeys {
		sendL, sendP, recvL, recvP = recvL, recvP, sendL, sendP
	}
	for _, c := range []struct {
		key [32]byte
		l   **v2transport.FSChaCha20
	}{{sendL, &e.sendL}, {recvL, &e.recvL}} {
		if *c.l, err = v2transport.NewFSChaCha20(c.key[:]); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		key [32]byte
		p   **v2transport.FSChaCha20Poly1305
	}{{sendP, &e.sendP}, {recvP, &e.recvP}} {
		if *c.p, err = v2transport.NewFSChaCha20Poly1305(c.key[:]); err != nil {
			return err
		}
	}
	return nil
}

// terminators returns the terminator that this end expects and the one that it sends.
func (e *End) terminators() (theirs, ours [16]byte) {
	if e.initiator {
		return e.ResponderTerminator, e.InitiatorTerminator
	}
	return e.InitiatorTerminator, e.ResponderTerminator
}

// secondFlight returns terminator, decoys and version packet.
func (e *End) secondFlight() []byte {
	theirs, ours := e.terminators()
	if e.script.SwapTerms {
		ours = theirs
	}
	if n := e.script.FlipBit; n > 0 {
		ours[(n-1)/8] ^= 1 << ((n - 1) % 8)
	}
	b := ours[:]
	if e.script.Terminator != nil {
		b = bytes.Clone(e.script.Terminator)
	}
	for _, n := range e.script.Decoys {
		b = append(b, e.Seal(make([]byte, n), Decoy)...)
	}
	if e.script.NoVersion {
		return b
	}
	return append(b, e.Seal(e.script.Version, 0)...)
}

// Seal seals the next packet.
func (e *End) Seal(contents []byte, header byte) []byte {
	n := e.sealed
	e.sealed++
	var aad []byte
	if n == 0 {
		aad = e.garbage
	}
	if e.script.AAD != nil {
		aad = e.script.AAD(n, e.garbage)
	}
	body, err := e.sendP.Encrypt(aad, append([]byte{header | e.script.HeaderBits}, contents...))
	if err != nil {
		panic(err) // never fails
	}
	packet := append(e.SealLength(len(contents)), body...)
	if e.script.Mangle != nil {
		packet = e.script.Mangle(n, packet)
	}
	return packet
}

// SealLength returns the first bytes of a packet with n bytes of contents.
func (e *End) SealLength(n int) []byte {
	length, err := e.sendL.Crypt([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	if err != nil {
		panic(err) // never fails
	}
	return length
}

// Send sends one packet.
func (e *End) Send(contents []byte) error { return e.write(e.Seal(contents, 0)) }

// SendDecoy sends one decoy packet.
func (e *End) SendDecoy(contents []byte) error { return e.write(e.Seal(contents, Decoy)) }

// Write sends raw bytes.
func (e *End) Write(b []byte) (int, error) { return len(b), e.write(b) }

func (e *End) write(b []byte) error {
	if part := e.script.WriteInParts; part > 0 {
		for c := range slices.Chunk(b, part) {
			if _, err := e.nc.Write(c); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := e.nc.Write(b)
	return err
}

// ReadFlight reads the other end's garbage, terminator, decoys and version packet.
func (e *End) ReadFlight() error {
	theirs, _ := e.terminators()
	var b []byte
	for !bytes.HasSuffix(b, theirs[:]) {
		if len(b) == MaxGarbage+len(theirs) {
			return errors.New("no garbage terminator")
		}
		c, err := e.in.ReadByte()
		if err != nil {
			return fmt.Errorf("the other end's garbage: %w", err)
		}
		b = append(b, c)
	}
	e.Garbage = len(b) - len(theirs)
	for aad := b[:e.Garbage]; ; aad = nil {
		_, header, err := e.open(aad)
		if err != nil {
			return fmt.Errorf("the other end's version packet: %w", err)
		}
		if header&Decoy == 0 {
			return nil
		}
	}
}

// Receive returns the contents of the next packet that is not a decoy. The error is io.EOF only between packets.
func (e *End) Receive() ([]byte, error) {
	for {
		contents, header, err := e.open(nil)
		if err != nil || header&Decoy == 0 {
			return contents, err
		}
	}
}

// Wait waits until something has arrived that was not read.
func (e *End) Wait() { e.in.Peek(1) }

// ReadSome reads and discards n bytes.
func (e *End) ReadSome(n int) { io.CopyN(io.Discard, e.in, int64(n)) }

func (e *End) open(aad []byte) (contents []byte, header byte, err error) {
	var sealed [3]byte
	if _, err := io.ReadFull(e.in, sealed[:]); err != nil {
		return nil, 0, err
	}
	length, err := e.recvL.Crypt(sealed[:])
	if err != nil {
		return nil, 0, err
	}
	n := int(length[0]) | int(length[1])<<8 | int(length[2])<<16
	if n > 4_000_013 {
		return nil, 0, fmt.Errorf("packet contents of %d bytes", n)
	}
	body := make([]byte, 1+n+16)
	if _, err := io.ReadFull(e.in, body); err != nil {
		return nil, 0, fmt.Errorf("within a packet: %w", err)
	}
	e.Last = append(sealed[:], body...)
	plain, err := e.recvP.Decrypt(aad, body)
	if err != nil {
		return nil, 0, err
	}
	return plain[1:], plain[0], nil
}
