package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"bip324proxy/inbound"
	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

var fuzzMagic = [4]byte{0xf9, 0xbe, 0xb4, 0xd9}

// peerOf sends b to a session as it is, or as the contents of packets, each of which has its
// size before it; it returns what it was sent.
func peerOf(nc net.Conn, b []byte, packets bool) (sent []byte) {
	if packets {
		conn, err := transport.Client(context.Background(), nc, transport.Config{Magic: fuzzMagic})
		for err == nil && len(b) >= 2 {
			n := min(int(binary.LittleEndian.Uint16(b)), len(b)-2)
			err = conn.WritePacket(b[2 : 2+n])
			b = b[2+n:]
		}
	} else {
		nc.Write(b)
	}
	nc.(*net.TCPConn).CloseWrite()
	sent, _ = io.ReadAll(nc)
	nc.Close()
	return sent
}

// Whatever a peer sends, the session ends; the node is connected to only for a VERSION of up to
// 1 KiB, and gets nothing but messages; and nothing is sent to a peer that may speak v1, if v1
// is refused.
func FuzzInbound(f *testing.F) {
	version := append(make([]byte, 80), "\x06/peer/\x00\x00\x00\x00\x01"...)
	whole := testkit.V1Message(fuzzMagic, "version", version)
	packet := func(contents ...byte) []byte {
		return append(binary.LittleEndian.AppendUint16(nil, uint16(len(contents))), contents...)
	}
	long := packet(append([]byte("\x00version\x00\x00\x00\x00\x00"), version...)...)
	sized := func(n uint32) []byte {
		b := bytes.Clone(whole)
		binary.LittleEndian.PutUint32(b[16:], n)
		return b
	}
	for _, b := range [][]byte{nil, whole[:4], whole[:16], whole, append(bytes.Clone(whole), whole...), make([]byte, 5000),
		sized(0), sized(1 << 10), sized(1<<10 + 1), sized(1 << 31), sized(1<<32 - 1),
		testkit.V1Message([4]byte{1, 2, 3, 4}, "version", version)} {
		f.Add(b, false, false)
		f.Add(b, false, true)
	}
	for _, b := range [][]byte{nil, long, append(bytes.Clone(long), packet(18, 1, 2, 3, 4, 5, 6, 7, 8)...), packet(18), packet(),
		append(packet(), long...), packet(append(make([]byte, 13), make([]byte, 2000)...)...),
		packet(append([]byte("\x00version\x00\x00\x00\x00\x00"), make([]byte, 1025)...)...)} {
		f.Add(b, true, false)
	}
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { node.Close() })
	visits := make(chan []byte, 1)
	go func() {
		for {
			nc, err := node.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(nc)
			nc.Close()
			visits <- b
		}
	}()
	f.Fuzz(func(t *testing.T, b []byte, packets, v1Allowed bool) {
		server := &Server{Log: slog.New(slog.DiscardHandler), LingerTimeout: time.Second}
		if v1Allowed {
			server.InboundV1 = fallback.Always
		}
		server.mu.Lock()
		server.setup()
		server.mu.Unlock()
		defer server.Close()
		peer, accepted := testkit.TCPPair(t)
		sess := newInboundSession(server, accepted, listener{node: &Inbound{Node: &inbound.Node{Network: "tcp", Address: node.Addr().String()}, Magic: fuzzMagic}})
		sess.peer.place, err = inbound.NewGate(1).Enter(netip.MustParseAddr("127.0.0.1"), func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go sess.serve(t.Context(), func(err error) { ended <- err })
		sent := peerOf(peer, b, packets)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("the session does not end")
		}
		sess.peer.place.Leave()

		start := append(bytes.Clone(fuzzMagic[:]), v1v2.VersionPrefix...)
		maybeV1 := !packets && (bytes.HasPrefix(b, start) || bytes.HasPrefix(start, b))
		if maybeV1 && !v1Allowed && (len(sent) > 0 || sess.client != nil) {
			t.Errorf("a peer that may speak v1 was sent %d bytes; the node was connected to: %v", len(sent), sess.client != nil)
		}
		if sess.client == nil {
			return
		}
		got := <-visits
		if maybeV1 {
			if !bytes.Equal(got, b) {
				t.Errorf("the node got % x, the peer sent % x", got, b)
			}
		} else if err := checkMessages(got); err != nil {
			t.Errorf("%v: the node got % x", err, got)
		}
		if len(got) < 24 || !bytes.HasPrefix(got, start) || binary.LittleEndian.Uint32(got[16:]) > maxVersion {
			t.Errorf("the node first got % x", got[:min(len(got), 24)])
		}
	})
}

// checkMessages returns an error unless b consists of whole v1 messages.
func checkMessages(b []byte) error {
	for len(b) > 0 {
		if len(b) < 24 || uint64(len(b)-24) < uint64(binary.LittleEndian.Uint32(b[16:])) {
			return errors.New("part of a message")
		}
		payload := b[24 : 24+binary.LittleEndian.Uint32(b[16:])]
		if !bytes.HasPrefix(b, testkit.V1Message(fuzzMagic, string(bytes.TrimRight(b[4:16], "\x00")), payload)) {
			return errors.New("an invalid message")
		}
		b = b[24+len(payload):]
	}
	return nil
}
