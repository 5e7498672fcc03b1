package v1v2

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"bip324proxy/transport"
)

// message is a message to send.
type message struct {
	name    string
	payload []byte
}

// everyMessage returns every type in a few sizes, and the edge sizes in both forms.
func everyMessage() (all []message) {
	source := testBytes(MaxPayload, 1)
	for i, name := range allNames() {
		for _, n := range []int{0, 1, 12, 13, 37 + i} {
			all = append(all, message{name, source[i:][:n]})
		}
	}
	for i, n := range edgeSizes() {
		all = append(all, message{"block", source[:n]}, message{"futuretype", source[MaxPayload-n:]})
		if i%4 == 0 {
			all = append(all, message{"ping", source[i:][:8]}) // a small one between large ones
		}
	}
	return all
}

// The client's messages arrive at the peer, in order and in v2's form.
func TestToPeer(t *testing.T) {
	s := overTCP(t)
	all := everyMessage()
	var size uint64
	for _, m := range all {
		size += uint64(24 + len(m.payload))
	}
	sent := make(chan error, 1)
	go func() {
		for _, m := range all {
			if _, err := s.client.Write(v1Bytes(mainnet, m.name, m.payload)); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.client.(interface{ CloseWrite() error }).CloseWrite()
	}()
	for i, m := range all {
		got, err := s.peer.ReadPacket()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, v2Bytes(m.name, m.payload)) {
			t.Fatalf("message %d, %q of %d bytes: got contents of %d bytes", i, m.name, len(m.payload), len(got))
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	checkEnded(t, <-s.upEnded, ClientSide, func(err error) bool { return err == io.EOF })
	if got, want := s.up.load(), (counted{uint64(len(all)), size, 0}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// The peer's messages arrive at the client, in order and in v1's form.
func TestToClient(t *testing.T) {
	s := overTCP(t)
	all := everyMessage()
	sent := make(chan error, 1)
	go func() {
		for _, m := range all {
			if err := s.peer.WritePacket(v2Bytes(m.name, m.payload)); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.peer.CloseWrite()
	}()
	var size uint64
	for i, m := range all {
		want := v1Bytes(mainnet, m.name, m.payload)
		size += uint64(len(want))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(s.client, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("message %d, %q of %d bytes: got %x", i, m.name, len(m.payload), got[:min(60, len(got))])
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	checkEnded(t, <-s.downEnded, PeerSide, func(err error) bool { return err == io.EOF })
	if got, want := s.down.load(), (counted{uint64(len(all)), size, 0}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// The long form of a type with an id is equivalent to the short one.
func TestToClientLongForms(t *testing.T) {
	s := overTCP(t)
	for name := range bipIDs {
		payload := []byte(name)
		if err := s.peer.WritePacket([]byte("\x00" + padded(name) + name)); err != nil {
			t.Fatal(err)
		}
		want := v1Bytes(mainnet, name, payload)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(s.client, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, %v", name, got, err)
		}
	}
}

// Invalid messages are dropped and counted, and the session continues.
func TestDrops(t *testing.T) {
	s := overTCP(t)
	var bad [][]byte
	payload := testBytes(20_000, 1)
	for _, n := range []int{0, 1, 37, 20_000} {
		if n > 0 {
			bad = append(bad, badChecksum("tx", payload[:n]))
		}
		bad = append(bad, v1Bytes(mainnet, "t\x1fx", payload[:n]), v1Bytes(mainnet, "tx\x00x", payload[:n]),
			v1Bytes(mainnet, "tx\x80", payload[:n]), v1Bytes(mainnet, "tx\x7f", payload[:n]))
	}
	ping := message{"ping", payload[:8]}
	for _, b := range bad {
		if _, err := s.client.Write(append(b, v1Bytes(mainnet, ping.name, ping.payload)...)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.peer.ReadPacket(); err != nil || !bytes.Equal(got, v2Bytes(ping.name, ping.payload)) {
			t.Fatalf("got %x, %v", got, err)
		}
	}
	if got, want := s.upCounted(t), (counted{uint64(len(bad)), uint64(32 * len(bad)), uint64(len(bad))}); got != want {
		t.Errorf("to the peer: counted %+v, want %+v", got, want)
	}

	bad = nil
	known := map[byte]bool{0: true}
	for _, id := range bipIDs {
		known[id] = true
	}
	for i := range utreexo {
		known[byte(firstUtreexo+i)] = true
	}
	for id := range 256 {
		for _, n := range []int{0, 1, 12, 13, 20_000} {
			if !known[byte(id)] {
				bad = append(bad, append([]byte{byte(id)}, payload[:n]...))
			}
		}
	}
	for n := range 13 {
		bad = append(bad, []byte("\x00" + padded("verack"))[:n]) // n = 0: empty contents
	}
	bad = append(bad, []byte("\x00ver\x00ack\x00\x00\x00\x00\x00payload"), []byte("\x00ver\xffack\x00\x00\x00\x00\x00payload"))
	want := v1Bytes(mainnet, ping.name, ping.payload)
	got := make([]byte, len(want))
	for _, b := range bad {
		if err := s.peer.Queue(b); err != nil {
			t.Fatal(err)
		}
		if err := s.peer.WritePacket(v2Bytes(ping.name, ping.payload)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s.client, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %x, %v", got, err)
		}
	}
	if err := s.peer.WriteDecoy(payload); err != nil { // decoys do not count as messages
		t.Fatal(err)
	}
	if got, want := s.downCounted(t), (counted{uint64(len(bad)), uint64(32 * len(bad)), uint64(len(bad))}); got != want {
		t.Errorf("to the client: counted %+v, want %+v", got, want)
	}
}

// upCounted ends the client's stream and returns the counts.
func (s *session) upCounted(t *testing.T) counted {
	t.Helper()
	if err := s.client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	checkEnded(t, <-s.upEnded, ClientSide, func(err error) bool { return err == io.EOF })
	return s.up.load()
}

// downCounted ends the peer's stream and returns the counts.
func (s *session) downCounted(t *testing.T) counted {
	t.Helper()
	if err := s.peer.CloseWrite(); err != nil {
		t.Error(err)
	}
	checkEnded(t, <-s.downEnded, PeerSide, func(err error) bool { return err == io.EOF })
	return s.down.load()
}

// A v2 message may be larger than a v1 header can express.
func TestTooLargeForV1(t *testing.T) {
	payload := testBytes(transport.MaxContents, 1)
	for _, n := range []int{1, 5, 12} {
		t.Run(fmt.Sprint(MaxPayload+n), func(t *testing.T) {
			s := overTCP(t)
			ping := v1Bytes(mainnet, "ping", payload[:8])
			if err := s.peer.Queue(v2Bytes("ping", payload[:8])); err != nil {
				t.Fatal(err)
			}
			if err := s.peer.WritePacket(v2Bytes("tx", payload[:MaxPayload+n])); err != nil {
				t.Fatal(err)
			}
			checkEnded(t, <-s.downEnded, PeerSide, isLength(int64(MaxPayload+n)))
			got := make([]byte, len(ping))
			if _, err := io.ReadFull(s.client, got); err != nil || !bytes.Equal(got, ping) {
				t.Errorf("got %x, %v", got, err)
			}
			if got, want := s.down.load(), (counted{1, uint64(len(ping)), 0}); got != want {
				t.Errorf("counted %+v, want %+v", got, want)
			}
		})
	}
}
