package v1v2

import (
	"bytes"
	"regexp"
	"testing"
)

// bipTable is the table in BIP324, "Message types", with four ids in a row as there.
var bipTable = [...]string{
	"", "addr", "block", "blocktxn",
	"cmpctblock", "feefilter", "filteradd", "filterclear",
	"filterload", "getblocks", "getblocktxn", "getdata",
	"getheaders", "headers", "inv", "mempool",
	"merkleblock", "notfound", "ping", "pong",
	"sendcmpct", "tx", "getcfilters", "cfilter",
	"getcfheaders", "cfheaders", "getcfcheckpt", "cfcheckpt",
	"addrv2",
}

// utreexo are BIP183's types. Their ids are consecutive and listed in BIP324's message_type_ids.md;
// Bitcoin Core does not know them.
var utreexo = [...]string{"uproof", "getuproof", "uttls", "getuttls", "usummary", "utreexotx", "uroot", "geturoot"}

const firstUtreexo = 29

// bipIDs are the ids of bipTable and that of BIP434: those sent to every peer.
var bipIDs = func() map[string]byte {
	ids := map[string]byte{"feature": 37}
	for id, name := range bipTable[1:] {
		ids[name] = byte(id + 1)
	}
	return ids
}()

// longNames are types without an id: from other BIPs, from none, the shortest, the longest, with
// every kind of character, or one character from a known type.
var longNames = []string{
	"version", "verack", "sendheaders", "sendaddrv2", "wtxidrelay", "getaddr", "sendtxrcncl",
	"reject", "alert", "abcdefghijkl", "", "a", " ", "~ !", "TX", "inv ", "inv2", "pin", "block txn",
}

// allNames are the types with and without an id.
func allNames() []string {
	names := append(longNames[:len(longNames):len(longNames)], utreexo[:]...)
	for name := range bipIDs {
		names = append(names, name)
	}
	return names
}

func TestShortIDs(t *testing.T) {
	byID := map[byte]string{}
	for name, id := range bipIDs {
		byID[id] = name
	}
	for i, name := range utreexo {
		byID[byte(firstUtreexo+i)] = name
	}
	if len(byID) != 37 {
		t.Fatalf("got %d ids in the test's table", len(byID))
	}
	payload := testBytes(15, 1)
	for id := 1; id < 256; id++ {
		for n := 0; n <= len(payload); n++ { // one of them is as long as a long form
			typ, got, ok := Decode(append([]byte{byte(id)}, payload[:n]...))
			want, known := byID[byte(id)]
			if ok != known || typ.String() != want || (ok && !bytes.Equal(got, payload[:n])) {
				t.Fatalf("id %d with %d bytes: got %q, %x, %v", id, n, typ, got, ok)
			}
		}
	}
	for name, id := range bipIDs {
		if got := AppendContents(nil, TypeOf(name), nil); !bytes.Equal(got, []byte{id}) {
			t.Errorf("%s is encoded as %x", name, got)
		}
	}
}

func TestDecodeLongFormSizes(t *testing.T) {
	long := v2Bytes("wtxidrelay", []byte{0, 0})
	for n := range long {
		typ, payload, ok := Decode(long[:n])
		if want := n >= 13; ok != want {
			t.Errorf("%d bytes: got %v", n, ok)
		}
		if ok && (typ.String() != "wtxidrelay" || len(payload) != n-13) {
			t.Errorf("%d bytes: got %q with %d bytes", n, typ, len(payload))
		}
	}
	if _, _, ok := Decode(nil); ok {
		t.Error("empty contents count as a message")
	}
	// A type with an id may be sent in the long form.
	for name := range bipIDs {
		typ, payload, ok := Decode([]byte("\x00" + padded(name) + "x"))
		if !ok || typ.String() != name || string(payload) != "x" {
			t.Errorf("long %s: got %q, %q, %v", name, typ, payload, ok)
		}
	}
}

// Every byte is tried at every place of a type, in both framings.
func TestTypeBytes(t *testing.T) {
	v2 := regexp.MustCompile(`\A[\x20-\x7f]*\x00*\z`)
	v1 := regexp.MustCompile(`\A[\x20-\x7e]*\x00*\z`)
	for _, base := range []string{"abcdefghijkl", padded("abcdef"), padded("tx"), padded("")} {
		for at := range base {
			for c := range 256 {
				name := base[:at] + string([]byte{byte(c)}) + base[at+1:]
				typ, payload, ok := Decode([]byte("\x00" + name + "payload"))
				if ok != v2.MatchString(name) {
					t.Errorf("v2, %q: got %v", name, ok)
				}
				if ok && (string(typ[:]) != name || string(payload) != "payload") {
					t.Errorf("v2, %q: got %q, %q", name, typ[:], payload)
				}

				m, ok, err := reader(v1Bytes(mainnet, name, []byte("payload")), nil).Next()
				if err != nil || ok != v1.MatchString(name) {
					t.Errorf("v1, %q: got %v, %v", name, ok, err)
				}
				if string(m.Type[:]) != name || string(m.Payload()) != "payload" {
					t.Errorf("v1, %q: got %q, %q", name, m.Type[:], m.Payload())
				}
			}
		}
	}
}

func TestRoundTrips(t *testing.T) {
	before := []byte("before")
	for _, name := range allNames() {
		for _, n := range []int{0, 1, 12, 13, 500} {
			payload, typ := testBytes(n, 1), TypeOf(name)
			if typ.String() != name {
				t.Errorf("%q became %q", name, typ)
			}
			contents := AppendContents(bytes.Clone(before), typ, payload)
			if want := append(bytes.Clone(before), v2Bytes(name, payload)...); !bytes.Equal(contents, want) {
				t.Errorf("%q in v2:\n got %x\nwant %x", name, contents, want)
			}
			got, gotPayload, ok := Decode(contents[len(before):])
			if !ok || got != typ || !bytes.Equal(gotPayload, payload) {
				t.Errorf("%q from v2: got %q, %d bytes, %v", name, got, len(gotPayload), ok)
			}
			message := AppendMessage(bytes.Clone(before), mainnet, typ, payload)
			if want := append(bytes.Clone(before), v1Bytes(mainnet, name, payload)...); !bytes.Equal(message, want) {
				t.Errorf("%q in v1:\n got %x\nwant %x", name, message, want)
			}
		}
	}
}
