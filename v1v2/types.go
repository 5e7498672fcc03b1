package v1v2

import (
	"bytes"
	"sync/atomic"
)

// Type is a message type as it is on the wire in v1: ASCII, padded with NULs.
type Type [12]byte

// TypeOf returns the type called name, at most 12 bytes.
func TypeOf(name string) (t Type) {
	copy(t[:], name)
	return t
}

func (t Type) String() string {
	name, _, _ := bytes.Cut(t[:], []byte{0})
	return string(name)
}

// valid says whether the bytes before the first NUL are printable, up to and
// including last, and all after it are NUL. Bitcoin Core accepts 0x7F in v2
// but not in v1.
func (t *Type) valid(last byte) bool {
	name, padding, _ := bytes.Cut(t[:], []byte{0})
	for _, c := range name {
		if c < ' ' || c > last {
			return false
		}
	}
	for _, c := range padding {
		if c != 0 {
			return false
		}
	}
	return true
}

// shortTypes are the types with a one-byte id in v2, by id: BIP324's table and its
// list of other BIPs' ids, message_type_ids.md.
var shortTypes = [...]string{
	1: "addr", 2: "block", 3: "blocktxn", 4: "cmpctblock", 5: "feefilter",
	6: "filteradd", 7: "filterclear", 8: "filterload", 9: "getblocks",
	10: "getblocktxn", 11: "getdata", 12: "getheaders", 13: "headers", 14: "inv",
	15: "mempool", 16: "merkleblock", 17: "notfound", 18: "ping", 19: "pong",
	20: "sendcmpct", 21: "tx", 22: "getcfilters", 23: "cfilter",
	24: "getcfheaders", 25: "cfheaders", 26: "getcfcheckpt", 27: "cfcheckpt",
	28: "addrv2", 29: "uproof", 30: "getuproof", 31: "uttls", 32: "getuttls",
	33: "usummary", 34: "utreexotx", 35: "uroot", 36: "geturoot", 37: "feature",
}

// isUtreexo reports whether an id is one of BIP183's, which Bitcoin Core does not know.
func isUtreexo(id byte) bool { return 29 <= id && id <= 36 }

// PeerIDs records which ids a session's peer has used, beyond those that Bitcoin Core
// knows. A peer that has used one understands them; to all others their types are sent
// in the long form, as Bitcoin Core would send a type that it does not know. The two
// loops of a session share it. Its zero value, and nil, record none.
type PeerIDs struct{ utreexo atomic.Bool }

// note records the id, or zero, with which a packet of the peer's begins.
func (p *PeerIDs) note(id byte) {
	if isUtreexo(id) && p != nil && !p.utreexo.Load() {
		p.utreexo.Store(true)
	}
}

// has reports whether the peer can be expected to know id.
func (p *PeerIDs) has(id byte) bool { return !isUtreexo(id) || p != nil && p.utreexo.Load() }

// typeByID and idByType are shortTypes, both ways.
var typeByID, idByType = func() (byID [len(shortTypes)]Type, byType map[Type]byte) {
	byType = make(map[Type]byte)
	for id, name := range shortTypes {
		if name != "" {
			byID[id] = TypeOf(name)
			byType[byID[id]] = byte(id)
		}
	}
	return byID, byType
}()

// longSize is the size of a type in v2's long form, in bytes: a zero and the
// type as in v1.
const longSize = 1 + len(Type{})

// encode writes t as v2 has it right before b[at:], for a peer that uses ids, and
// returns where it begins. There must be longSize bytes.
func (t Type) encode(b []byte, at int, ids *PeerIDs) int {
	if id, ok := idByType[t]; ok && ids.has(id) {
		b[at-1] = id
		return at - 1
	}
	b[at-longSize] = 0
	copy(b[at-len(t):at], t[:])
	return at - longSize
}

// AppendContents appends a message to b as the contents of a v2 packet, to a peer of
// which nothing is known.
func AppendContents(b []byte, t Type, payload []byte) []byte {
	var head [longSize]byte
	b = append(b, head[t.encode(head[:], longSize, nil):]...)
	return append(b, payload...)
}

// Decode splits the contents of a v2 packet into type and payload. It returns false
// for what is dropped: no contents, an id that is not assigned, a long form that is
// short or has an invalid type.
func Decode(contents []byte) (t Type, payload []byte, ok bool) {
	t, payload, drop := decode(contents)
	return t, payload, drop == 0
}

// decode is Decode with the reason, zero for a message.
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
