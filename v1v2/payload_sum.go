package v1v2

import (
	"crypto/sha256"
	"hash"
)

// payloadSum computes the checksum of a large payload as it comes in pieces.
type payloadSum struct {
	hash hash.Hash // nil before the first
	n    int       // bytes hashed; negative if not all are the payload's
	once [sha256.Size]byte
}

func (s *payloadSum) reset() {
	s.n = 0
	if s.hash != nil {
		s.hash.Reset()
	}
}

func (s *payloadSum) add(piece []byte) {
	if s.n < 0 {
		return
	}
	if s.hash == nil {
		s.hash = sha256.New()
	}
	s.hash.Write(piece)
	s.n += len(piece)
}

// spoil discards what was added: of then hashes the whole payload.
func (s *payloadSum) spoil() { s.n = -1 }

// of returns the checksum of the payload, whose pieces were added or not.
func (s *payloadSum) of(payload []byte) [4]byte {
	if s.n != len(payload) || s.n == 0 {
		return checksum(payload)
	}
	twice := sha256.Sum256(s.hash.Sum(s.once[:0]))
	return [4]byte(twice[:])
}
