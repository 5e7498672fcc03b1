package transport

import (
	"bytes"
	"crypto/rand"
	mrand "math/rand/v2"
	"testing"

	"bip324proxy/internal/testkit"
)

// signet is a network other than mainnet.
var signet = [4]byte{0x0a, 0x03, 0xcf, 0x40}

// fixedKey returns the key of one of BIP324's packet vectors, so that all runs have the same bytes.
func fixedKey(t testing.TB, row int) privateKey {
	t.Helper()
	v := vectors(t, "packet_encoding_test_vectors.csv")[row]
	k := privateKey{public: [KeySize]byte(unhex(t, v["in_ellswift_ours"]))}
	k.scalar = [32]byte(unhex(t, v["in_priv_ours"]))
	return k
}

// keyWithPrefix returns a key whose encoding begins with prefix, of at most 24 bytes.
func keyWithPrefix(prefix []byte) *privateKey {
	k := newPrivateKey()
	x := k.publicX()
	for {
		var b [32]byte
		rand.Read(b[:])
		copy(b[:], prefix)
		var u, t field
		u.SetBytes(&b)
		for c := range 8 {
			if xswiftecInv(&t, &x, &u, c) {
				u.PutBytes((*[32]byte)(k.public[:32]))
				t.PutBytes((*[32]byte)(k.public[32:]))
				return k
			}
		}
	}
}

// peer is the other end of a handshake, built from the package's parts so that it can break any
// rule.
type peer struct {
	public [KeySize]byte
	keys   sessionKeys
	seal   *direction
	open   *direction
}

// newPeer returns the other end of h, with its ciphers ready before h has received a byte.
func newPeer(t testing.TB, h *Handshake, key *privateKey) *peer {
	t.Helper()
	return newPeerOn(t, h, key, h.cfg.Magic)
}

func newPeerOn(t testing.TB, h *Handshake, key *privateKey, magic [4]byte) *peer {
	t.Helper()
	var secret [32]byte
	key.ecdh(&secret, &h.key.public, !h.initiator)
	keys := deriveKeys(&secret, magic, !h.initiator)
	p := &peer{public: key.public, keys: *keys}
	var err error
	if p.seal, p.open, err = newCiphers(keys); err != nil {
		t.Fatal(err)
	}
	return p
}

// hello returns the peer's key, garbage and terminator.
func (p *peer) hello(garbage []byte) []byte {
	return bytes.Join([][]byte{p.public[:], garbage, p.keys.sendTerminator[:]}, nil)
}

// promise returns the encrypted length of a packet with n bytes of contents.
func (p *peer) promise(n int) []byte { return promise(p.seal, n) }

func promise(s *direction, n int) []byte {
	b := []byte{byte(n), byte(n >> 8), byte(n >> 16)}
	s.length.crypt(b)
	return b
}

// newCiphers returns the sealing and the opening half of one side's keys.
func newCiphers(k *sessionKeys) (*direction, *direction, error) {
	s, err := newDirection(&k.sendL, &k.sendP)
	if err != nil {
		return nil, nil, err
	}
	o, err := newVerifier(&k.recvL, &k.recvP).finish()
	return s, o, err
}

// take opens all packets in b.
func (p *peer) take(t testing.TB, b, aad []byte) (all []opened) {
	t.Helper()
	for len(b) > 0 {
		n, err := p.open.length.openLength(b)
		if err != nil {
			t.Fatal(err)
		}
		contents, decoy, err := p.open.open(b[lengthSize:packetSize(n)], aad)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, opened{contents, decoy})
		b, aad = b[packetSize(n):], nil
	}
	return all
}

type opened struct {
	contents []byte
	decoy    bool
}

// machine returns a handshake with a fixed key.
func machine(t testing.TB, cfg Config, initiator bool, key privateKey) *Handshake {
	t.Helper()
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	return &Handshake{cfg: cfg, initiator: initiator, key: &key}
}

// chunking is a way to split a stream.
type chunking struct {
	name string
	next func() int
}

func chunkings() []chunking {
	rng := mrand.New(mrand.NewPCG(1, 2))
	return []chunking{
		{"bytes", func() int { return 1 }},
		{"flights", func() int { return 1 << 30 }},
		{"random", func() int { return 1 + rng.IntN(1+rng.IntN(500)) }},
	}
}

// feed passes in to h in chunks until h is done or fails. It returns how much was consumed and what
// h sent.
func feed(t testing.TB, h *Handshake, in []byte, chunk func() int) (n int, sent []byte, err error) {
	t.Helper()
	before := h.Received()
	for n < len(in) && h.Stage() < StageDone {
		part := in[n:min(len(in), n+chunk())]
		took, send, err := h.Receive(part)
		n += took
		if took > len(part) || h.Received()-before != n {
			t.Fatalf("consumed %d of %d bytes, counted %d of %d", took, len(part), h.Received()-before, n)
		}
		if err != nil {
			if send != nil {
				t.Fatalf("got %d bytes to send with an error", len(send))
			}
			return n, sent, err
		}
		if took < len(part) && h.Stage() < StageDone {
			t.Fatalf("left %d of %d bytes at stage %v", len(part)-took, len(part), h.Stage())
		}
		sent = append(sent, send...)
	}
	return n, sent, nil
}

// shake carries the bytes between two machines, in chunks, until neither has anything to send. It
// returns what each did not consume.
func shake(t testing.TB, initiator, responder *Handshake, chunk func() int) (restI, restR []byte) {
	t.Helper()
	toR := initiator.Start()
	var toI []byte
	for moved := true; moved; {
		moved = false
		for _, s := range []struct {
			h       *Handshake
			in, out *[]byte
		}{{responder, &toR, &toI}, {initiator, &toI, &toR}} {
			n, send, err := s.h.Receive((*s.in)[:min(len(*s.in), chunk())])
			if err != nil {
				t.Fatalf("initiator %v, stage %v: %v", s.h.initiator, s.h.Stage(), err)
			}
			*s.in = (*s.in)[n:]
			*s.out = append(*s.out, send...)
			moved = moved || n > 0
		}
	}
	return toI, toR
}

// wiped checks that h holds no private key and no derived key.
func wiped(t testing.TB, h *Handshake) {
	t.Helper()
	if h.key.scalar != [32]byte{} {
		t.Error("the private key was not wiped")
	}
	if k := h.keys; k != nil {
		for _, b := range [][32]byte{k.sendL, k.sendP, k.recvL, k.recvP} {
			if b != [32]byte{} {
				t.Error("a derived key was not wiped")
			}
		}
	}
}

var testBytes = testkit.RandomBytes
