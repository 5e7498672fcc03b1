package v1v2

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
)

// BIP183's ids are understood from every peer, and used with peers that have used one.
func TestUtreexoIDs(t *testing.T) {
	s := overTCP(t)
	send := func(name string, want []byte) {
		t.Helper()
		s.client.Write(v1Bytes(mainnet, name, []byte("request")))
		if got, err := s.peer.ReadPacket(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: got %x, %v, want %x", name, got, err, want)
		}
	}
	answer := func(name string, contents []byte) {
		t.Helper()
		want := v1Bytes(mainnet, name, []byte("answer"))
		got := make([]byte, len(want))
		if err := s.peer.WritePacket(contents); err != nil {
			t.Fatal(err)
		}
		if err := readFull(s, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: got %q, %v", name, got, err)
		}
	}
	short := func(id int, payload string) []byte { return append([]byte{byte(id)}, payload...) }

	for _, name := range utreexo {
		send(name, v2Bytes(name, []byte("request"))) // long form
		answer(name, v2Bytes(name, []byte("answer")))
	}
	answer("ping", short(18, "answer"))
	answer("feature", short(37, "answer"))
	send("getuproof", v2Bytes("getuproof", []byte("request"))) // the peer has not shown that it knows the ids
	for i, name := range utreexo {
		answer(name, short(firstUtreexo+i, "answer"))
		for j, name := range utreexo {
			send(name, short(firstUtreexo+j, "request"))
		}
	}
	send("wtxidrelay", v2Bytes("wtxidrelay", []byte("request"))) // other types do not change
	if n := s.up.Dropped() + s.down.Dropped(); n != 0 {
		t.Errorf("%d dropped, want none", n)
	}
}

// After a peer has used one of the ids, large messages get the short form, too.
func TestUtreexoIDsOfLargeMessages(t *testing.T) {
	s := overTCP(t)
	large := testBytes(100_000, 1)
	for _, id := range []byte{0, 35} { // received from the peer before
		if id != 0 {
			s.peer.WritePacket([]byte{id})
			if err := readFull(s, make([]byte, HeaderSize)); err != nil {
				t.Fatal(err)
			}
		}
		want := v2Bytes("utreexotx", large)
		if id != 0 {
			want = append([]byte{34}, large...)
		}
		go s.client.Write(v1Bytes(mainnet, "utreexotx", large))
		if got, err := s.peer.ReadPacket(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("after id %d: got %d bytes, %v, want %d", id, len(got), err, len(want))
		}
	}
}

func readFull(s *session, b []byte) error {
	for len(b) > 0 {
		n, err := s.client.Read(b)
		if b = b[n:]; err != nil {
			return err
		}
	}
	return nil
}

// badMessages are messages that are dropped, and how they are counted.
var badMessages = []struct {
	contents []byte // to the client
	raw      []byte // to the peer
	want     Dropped
}{
	{contents: []byte{38}, want: Dropped{Reason: UnknownID, ID: 38}},
	{contents: []byte{}, want: Dropped{Reason: Empty}},
	{contents: []byte("\x00ping"), want: Dropped{Reason: ShortType, Type: TypeOf("ping")}},
	{contents: []byte{0}, want: Dropped{Reason: ShortType}},
	{contents: []byte("\x00ping\x00x\x00\x00\x00\x00\x00\x00payload"), want: Dropped{Reason: InvalidType, Type: TypeOf("ping\x00x")}},
	{raw: badChecksum("ping", []byte("12345678")), want: Dropped{Reason: WrongChecksum, Type: TypeOf("ping")}},
	{raw: badChecksum("tx", testBytes(50_000, 1)), want: Dropped{Reason: WrongChecksum, Type: TypeOf("tx")}},
	{raw: badChecksum("p\x01", nil), want: Dropped{Reason: WrongChecksum, Type: TypeOf("p\x01")}}, // both: the checksum counts, as in Bitcoin Core
	{raw: v1Bytes(mainnet, "p\x01", nil), want: Dropped{Reason: InvalidType, Type: TypeOf("p\x01")}},
	{raw: v1Bytes(mainnet, "p\x7f", testBytes(50_000, 1)), want: Dropped{Reason: InvalidType, Type: TypeOf("p\x7f")}},
	{contents: []byte{255, 1, 2, 3}, want: Dropped{Reason: UnknownID, ID: 255}},
}

// Drops are counted by reason, and the first of each kind is reported.
func TestDropped(t *testing.T) {
	reported := make(chan Dropped, 100)
	client, clientSide := testkit.TCPPair(t)
	peerSide, peer := testkit.TCPPair(t)
	s := handshake(t, client, clientSide, peerSide, peer)
	s.up.OnDrop = func(d Dropped) { reported <- d }
	s.down.OnDrop = s.up.OnDrop
	s.run(clientSide)
	defer func() {
		for _, c := range []net.Conn{client, clientSide, peerSide, peer} {
			c.Close()
		}
		<-s.upEnded
		<-s.downEnded
	}()

	wantCounts := make(map[Reason]uint64)
	wantReported := make(map[Dropped]int)
	first := make(map[[2]any]bool)
	const rounds = 3
	for range rounds {
		for _, b := range badMessages {
			wantCounts[b.want.Reason]++
			up := b.raw != nil
			if k := [2]any{up, b.want.Reason}; !first[k] {
				first[k] = true
				wantReported[b.want]++
			}
			if up {
				s.client.Write(b.raw)
			} else if err := s.peer.WritePacket(b.contents); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Messages after them arrive.
	s.client.Write(v1Bytes(mainnet, "pong", nil))
	if got, err := s.peer.ReadPacket(); err != nil || !bytes.Equal(got, []byte{19}) {
		t.Errorf("got %x, %v", got, err)
	}
	s.peer.WritePacket([]byte{18})
	if err := readFull(s, make([]byte, HeaderSize)); err != nil {
		t.Error(err)
	}
	close(reported)
	for d := range reported {
		wantReported[d]--
	}
	for d, n := range wantReported {
		if n != 0 {
			t.Errorf("%+v was reported %d times too few", d, n)
		}
	}
	var all uint64
	for _, r := range Reasons {
		n := s.up.DroppedFor(r) + s.down.DroppedFor(r)
		if n != wantCounts[r] {
			t.Errorf("%v: got %d, want %d", r, n, wantCounts[r])
		}
		all += n
	}
	if n := s.up.Dropped() + s.down.Dropped(); n != all || all != uint64(rounds*len(badMessages)) {
		t.Errorf("%d dropped, want %d", n, rounds*len(badMessages))
	}
}

// Dropping a message allocates nothing, however many a peer sends.
func TestDropAllocatesNothing(t *testing.T) {
	var c Counts
	c.OnDrop = func(Dropped) {}
	long := []byte("\x00ping\x00x\x00\x00\x00\x00\x00\x00payload")
	if n := testing.AllocsPerRun(100, func() {
		for _, contents := range [][]byte{{38}, {}, {0}, long} {
			_, _, drop := decode(contents)
			c.Drop(droppedContents(contents, drop))
		}
		c.Drop(Dropped{Reason: WrongChecksum})
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestQuoted(t *testing.T) {
	for name, want := range map[string]string{
		"":                         "",
		"ping":                     "ping",
		"a b":                      "a b",
		"\n\x1b[31m":               `\n\x1b[31m`,
		"p\x00x":                   `p\x00x`,
		`"\`:                       `\"\\`,
		"\xff\xfe\x80":             `\xff\xfe\x80`,
		"é":                        `\u00e9`,
		strings.Repeat("\x01", 12): strings.Repeat(`\x01`, 12),
	} {
		if got := TypeOf(name).Quoted(); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}
