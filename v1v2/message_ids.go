package v1v2

import (
	"encoding/binary"
	"sync/atomic"
)

// messageIDs holds the message types with a one-byte id in v2, by id: BIP324's table and
// the ids of other BIPs in its list, message_type_ids.md. A new id goes here.
var messageIDs = [...]string{
	1: "addr", 2: "block", 3: "blocktxn", 4: "cmpctblock", 5: "feefilter",
	6: "filteradd", 7: "filterclear", 8: "filterload", 9: "getblocks",
	10: "getblocktxn", 11: "getdata", 12: "getheaders", 13: "headers", 14: "inv",
	15: "mempool", 16: "merkleblock", 17: "notfound", 18: "ping", 19: "pong",
	20: "sendcmpct", 21: "tx", 22: "getcfilters", 23: "cfilter",
	24: "getcfheaders", 25: "cfheaders", 26: "getcfcheckpt", 27: "cfcheckpt",
	28: "addrv2", 29: "uproof", 30: "getuproof", 31: "uttls", 32: "getuttls",
	33: "usummary", 34: "utreexotx", 35: "uroot", 36: "geturoot", 37: "feature",
}

// withoutID holds the types of Bitcoin Core's messages that have no id.
var withoutID = [...]string{
	"version", "verack", "getaddr", "sendheaders", "wtxidrelay", "sendaddrv2", "sendtxrcncl",
}

// knownType is a type with a name here, and its id in v2, or zero.
type knownType struct {
	Type
	id byte
}

// typeByID holds the types with an id. knownTypes holds these and those without: a hash table, with
// the next empty place for those whose place is taken. A map would cost 20 ns more for each message.
var typeByID, knownTypes = func() (byID [len(messageIDs)]Type, known [128]knownType) {
	add := func(name string, id int) {
		t := TypeOf(name)
		at := t.place()
		for known[at].Type != (Type{}) {
			at = (at + 1) % len(known)
		}
		known[at] = knownType{t, byte(id)}
	}
	for id, name := range messageIDs {
		if name != "" {
			byID[id] = TypeOf(name)
			add(name, id)
		}
	}
	for _, name := range withoutID {
		add(name, 0)
	}
	return byID, known
}()

// place returns where a search for t in knownTypes begins.
func (t *Type) place() int {
	x := binary.LittleEndian.Uint64(t[:]) ^ uint64(binary.LittleEndian.Uint32(t[8:]))
	return int(x * 0x9e3779b97f4a7c15 >> 57)
}

// known returns the known type that t is, or nil.
func (t *Type) known() *knownType {
	for at := t.place(); knownTypes[at].Type != (Type{}); at = (at + 1) % len(knownTypes) {
		if k := &knownTypes[at]; k.Type == *t {
			return k
		}
	}
	return nil
}

// isUtreexo reports whether an id is one of BIP183's, which Bitcoin Core does not know.
func isUtreexo(id byte) bool { return 29 <= id && id <= 36 }

// peerIDs records whether a session's peer has used ids that Bitcoin Core does not know.
// Such a peer understands them; for all others their types are sent in the long form, as
// Bitcoin Core would send a type that it does not know. Its zero value, and nil, record
// none.
type peerIDs struct{ utreexo atomic.Bool }

// note records the id, or zero, at the start of a packet from the peer.
func (p *peerIDs) note(id byte) {
	if isUtreexo(id) && p != nil && !p.utreexo.Load() {
		p.utreexo.Store(true)
	}
}

// has reports whether the peer understands id.
func (p *peerIDs) has(id byte) bool { return !isUtreexo(id) || p != nil && p.utreexo.Load() }
