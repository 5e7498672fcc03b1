package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"bip324proxy/test/hostile"
)

// v1Case is what a client sends once it is connected, what of it the peer must get, and why the session ends.
type v1Case struct {
	name    string
	says    []byte
	got     []message // VERSION included; nil if no session may open
	msg     string
	why     string
	dropped int64
}

const whyClientLeft = "the client closed the connection"

var (
	hello = hostile.V1(version.name, version.payload)
	block = message{"block", randomPayload(8, 4_000_000)}
)

func v1(all ...message) (b []byte) {
	for _, m := range all {
		b = append(b, hostile.V1(m.name, m.payload)...)
	}
	return b
}

// v1Cases breaks every rule of v1: before its VERSION is complete, nothing may be sent on; after it, everything before
// the fault arrives, and nothing after it.
func v1Cases() (all []v1Case) {
	before := func(name, why string, says ...[]byte) {
		all = append(all, v1Case{name: name, says: slices.Concat(says...), msg: refused, why: why})
	}
	for n := 4; n < len(hello); n++ {
		before(fmt.Sprintf("VERSION ends after %d bytes", n), whyClientLeft+" within a message", hello[:n])
	}
	before("verack first", "the first v1 message is not VERSION", v1(message{"verack", nil}, version))
	before("VERSION in capitals", "the first v1 message is not VERSION", hostile.V1("VERSION", version.payload))
	before("VERSION with a wrong checksum", whyClientLeft, hostile.BadChecksum(version.name, version.payload))
	before("two VERSIONs of two networks", "v1 header with magic", hostile.BadChecksum(version.name, version.payload),
		hostile.V1On([4]byte{0x0a, 0x03, 0xcf, 0x40}, version.name, version.payload))
	for _, n := range []uint32{4_000_001, 1<<32 - 1} {
		before(fmt.Sprintf("VERSION of %d bytes", n), fmt.Sprintf("%d bytes, over the limit of 4000000", n), hostile.V1Header(version.name, n), junk)
	}

	after := func(name, why string, good []message, dropped int64, says ...[]byte) {
		all = append(all, v1Case{name: name, says: slices.Concat(append([][]byte{hello}, says...)...),
			got: append([]message{version}, good...), msg: closed, why: why, dropped: dropped})
	}
	after("good messages", whyClientLeft, three, 0, v1(three...))
	after("the largest message", whyClientLeft, []message{block}, 0, v1(block))
	after("two VERSIONs", whyClientLeft, []message{version}, 0, hello) // for the peer to judge
	for _, n := range []uint32{4_000_001, 1 << 31, 1<<32 - 1} {
		after(fmt.Sprintf("%d bytes", n), fmt.Sprintf(`the client: message "tx" of %d bytes`, n), three, 0,
			v1(three...), hostile.V1Header("tx", n), junk, v1(three...))
	}
	after("another network's magic", "the client: v1 header with magic 0a03cf40", three, 0, v1(three...),
		hostile.V1On([4]byte{0x0a, 0x03, 0xcf, 0x40}, "ping", junk[:8]), v1(three...))
	after("noise", "the client: v1 header with magic", three, 0, v1(three...), junk)
	after("one byte too many", "the client: v1 header with magic", three[:1], 0, v1(three[0]), []byte{0}, v1(three...))
	after("one byte too few", "the client: v1 header with magic", nil, 1, v1(message{"tx", junk[:99]})[:24+98], v1(three...))
	after("wrong checksums", whyClientLeft, three, 3, hostile.BadChecksum("tx", junk[:99]), v1(three...),
		hostile.BadChecksum("block", junk), hostile.BadChecksum("verack", nil))
	after("large message with a wrong checksum", whyClientLeft, three, 1, hostile.BadChecksum(block.name, block.payload), v1(three...))
	for _, name := range []string{"a\nb", "caf\xe9", "a\x00b", "\x00a", "ping\x00\x00\x00\x00\x00\x00\x00x", "\x7f", "\x1f"} {
		after(fmt.Sprintf("type %q", name), whyClientLeft, three, 1, hostile.V1(name, junk[:20]), v1(three...))
	}
	for _, n := range []int{1, 23, 24, 24 + len(block.payload) - 1} {
		after(fmt.Sprintf("cut off after %d bytes", n), whyClientLeft+" within a message", three, 0, v1(three...), v1(block)[:n])
	}
	for _, n := range []int{221, 222, 223, 447, 10_000} { // after the version packet and VERSION
		after(fmt.Sprintf("%d messages", n), whyClientLeft, numbered(n), 0, v1(numbered(n)...))
	}
	for id, name := range hostile.ShortNames() {
		if name != "" {
			m := []message{{name, randomPayload(uint64(id), id)}, {name, nil}}
			after("type "+name, whyClientLeft, m, 0, v1(m...))
		}
	}
	for _, name := range []string{"wtxidrelay", "sendtxrcncl", "twelve-chars", "x"} {
		m := []message{{name, nil}, {name, junk[:1]}}
		after("type "+name, whyClientLeft, m, 0, v1(m...))
	}
	return all
}

// v1Taken is what a peer read of a client.
type v1Taken struct {
	raw int // bytes, if there was no handshake
	got []message
	err error
}

// take plays a peer that reads to the end.
func take(nc *net.TCPConn) (t v1Taken) {
	first := make([]byte, 1)
	if n, _ := io.ReadFull(nc, first); n == 0 {
		return t
	}
	t.raw = 1
	e, err := hostile.Script{}.Shake(unread{nc, io.MultiReader(bytes.NewReader(first), nc)}, false)
	if err != nil {
		t.err = err
		return t
	}
	e.Send(hostile.V2("verack", nil)) // tells the client that the session is open
	for {
		contents, err := e.Receive()
		if err != nil {
			t.err = err
			return t
		}
		name, payload := decode(contents)
		t.got = append(t.got, message{name, payload})
	}
}

// unread is a connection whose first bytes were read already.
type unread struct {
	net.Conn
	r io.Reader
}

func (u unread) Read(b []byte) (int, error) { return u.r.Read(b) }

// decode returns the message in a packet's contents, which must use the shortest encoding.
func decode(contents []byte) (name string, payload []byte) {
	switch {
	case len(contents) > 0 && contents[0] > 0:
		name, payload = hostile.ShortNames()[contents[0]], contents[1:]
	case len(contents) >= 13:
		name, payload = strings.TrimRight(string(contents[1:13]), "\x00"), contents[13:]
	}
	if !bytes.Equal(hostile.V2(name, payload), contents) {
		return fmt.Sprintf("contents % x…", contents[:min(13, len(contents))]), contents
	}
	return name, payload
}

// Each case is sent to the program in one write and in small ones.
func TestHostileV1Client(t *testing.T) {
	t.Parallel()
	u := startUnder(t)
	cases := v1Cases()
	each(2*len(cases), 8, func(i int) {
		c, part := cases[i/2], 1<<30
		if i%2 == 1 {
			part = max(1, len(c.says)/100)
		}
		taken := make(chan v1Taken, 1)
		s := play(t, func(nc *net.TCPConn) { taken <- take(nc) })
		client, err := hostile.Connect(u.addr, s.addr, patience)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			return
		}
		defer client.Close()
		for b := range slices.Chunk(c.says, part) {
			if _, err := client.Write(b); err != nil {
				break // refused already
			}
		}
		var heard []byte
		if c.msg == closed { // a client that hangs up before the session is open aborts it
			heard = make([]byte, 24)
			n, _ := io.ReadFull(client, heard)
			heard = heard[:n]
		}
		client.CloseWrite()
		rest, err := io.ReadAll(client)
		if heard = append(heard, rest...); len(heard) > 0 && !bytes.Equal(heard, hostile.V1("verack", nil)) || endingOf(err) == open {
			t.Errorf("%s: the client got %d bytes, and then %v", c.name, len(heard), endingOf(err))
		}
		client.Close()
		got := <-taken
		if err := same(got.got, c.got); err != nil {
			t.Errorf("%s: the peer: %v (%v)", c.name, err, got.err)
		}
		if c.got == nil && got.raw > 0 {
			t.Errorf("%s: data was sent to the peer", c.name)
		}
		if e := u.end(t, client.LocalAddr()); e.Msg != c.msg || !strings.Contains(e.Reason, c.why) || e.Dropped != c.dropped {
			t.Errorf("%s: got %s, %q, %d dropped; want %s, %q, %d", c.name, e.Msg, e.Reason, e.Dropped, c.msg, c.why, c.dropped)
		}
		s.over()
	})
	t.Logf("%d cases", 2*len(cases))
	u.requireFreed(t)
}
