package v1v2

import (
	"bytes"
	"slices"
)

// Type is a message type as on the wire in v1: ASCII, padded with NULs.
type Type [12]byte

// TypeOf returns the type called name, at most 12 bytes.
func TypeOf(name string) (t Type) {
	copy(t[:], name)
	return t
}

// String returns the name without its padding.
func (t Type) String() string {
	name, _, _ := bytes.Cut(t[:], []byte{0})
	return string(name)
}

// valid reports whether t is bytes from space to last, padded with NULs. Bitcoin Core
// accepts 0x7F in v2 but not in v1.
func (t *Type) valid(last byte) bool {
	name := bytes.TrimRight(t[:], "\x00")
	return !slices.ContainsFunc(name, func(c byte) bool { return c < ' ' || c > last })
}

// longSize is the size of a type in v2's long form: a zero byte and the type as in v1.
const longSize = 1 + len(Type{})

// encode writes t in its v2 form, for a peer that understands ids, so that it ends at
// b[at], and returns where it begins. at must be at least longSize.
func (t Type) encode(b []byte, at int, ids *peerIDs) int {
	if k := t.known(); k != nil && k.id != 0 && ids.has(k.id) {
		b[at-1] = k.id
		return at - 1
	}
	b[at-longSize] = 0
	copy(b[at-len(t):at], t[:])
	return at - longSize
}

// AppendContents appends a message to b as the contents of a v2 packet. It uses the ids
// that Bitcoin Core knows.
func AppendContents(b []byte, t Type, payload []byte) []byte {
	var head [longSize]byte
	b = append(b, head[t.encode(head[:], longSize, nil):]...)
	return append(b, payload...)
}

// Decode splits the contents of a v2 packet into type and payload. It returns false for
// contents that are dropped: empty, with an unassigned id, or with a long form that is too
// short or has an invalid type.
func Decode(contents []byte) (t Type, payload []byte, ok bool) {
	t, payload, drop := decode(contents)
	return t, payload, drop == 0
}

// decode is Decode with the reason for dropping, zero for a message.
func decode(contents []byte) (t Type, payload []byte, drop Reason) {
	if len(contents) == 0 {
		return t, nil, Empty
	}
	if id := contents[0]; id != 0 {
		if int(id) >= len(typeByID) || typeByID[id] == (Type{}) {
			return t, nil, UnknownID
		}
		return typeByID[id], contents[1:], 0
	}
	if len(contents) < longSize {
		return t, nil, ShortType
	}
	if t = Type(contents[1:longSize]); !t.valid(0x7f) {
		drop = InvalidType
	}
	return t, contents[longSize:], drop
}
