package fallback

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

var (
	ourVersion   = testkit.V1Message(mainnet, "version", testkit.RandomBytes(100, 1))
	theirVersion = testkit.V1Message(mainnet, "version", testkit.RandomBytes(110, 2))
)

// pipes is a network of pipes for a Dialer in a bubble: the peer of each connection is the next
// of peers, the last one for all that follow.
type pipes struct {
	peers   []pipePeer
	dialled []string
}

func (p *pipes) dial(_ context.Context, _, addr string) (net.Conn, error) {
	peer := p.peers[min(len(p.dialled), len(p.peers)-1)]
	p.dialled = append(p.dialled, addr)
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		peer(theirs)
	}()
	return &remoteAt{ours, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}, nil
}

// remoteAt is a pipe that has an address.
type remoteAt struct {
	net.Conn
	remote net.Addr
}

func (c *remoteAt) RemoteAddr() net.Addr { return c.remote }

// nodeV2 takes VERSION in v2 and answers with one.
func nodeV2(t *testing.T) pipePeer {
	return func(nc net.Conn) {
		conn, err := transport.Server(context.Background(), nc, transport.Config{Magic: mainnet, Garbage: []byte{}})
		if err != nil {
			t.Error(err)
			return
		}
		contents, err := conn.ReadPacket()
		if want := append([]byte("\x00version\x00\x00\x00\x00\x00"), ourVersion[24:]...); err != nil || !bytes.Equal(contents, want) {
			t.Errorf("the peer was sent %x, %v", contents, err)
		}
		conn.WritePacket(append([]byte("\x00version\x00\x00\x00\x00\x00"), theirVersion[24:]...))
		io.Copy(io.Discard, nc)
	}
}

// nodeV1 takes VERSION in v1 and answers.
func nodeV1(t *testing.T, answer []byte) pipePeer {
	return func(nc net.Conn) {
		got := make([]byte, len(ourVersion))
		if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, ourVersion) {
			t.Errorf("the peer was sent %x, %v", got, err)
		}
		nc.Write(answer)
		if len(answer) > 0 {
			io.Copy(io.Discard, nc)
		}
	}
}

// speaksFirst says b and then nothing.
func speaksFirst(b []byte) pipePeer {
	return func(nc net.Conn) {
		go nc.Write(b)
		io.Copy(io.Discard, nc)
	}
}

func hangsUpUnread(nc net.Conn) {}

// Each row of Upgrade's table, with the network learnt and named. Whatever is spoken, the VERSION
// is as it was written, and the program reads v1.
func TestDialContextDecides(t *testing.T) {
	type conns = []pipePeer
	cut, v2, v1 := hangsUpAfter(0), nodeV2(t), nodeV1(t, theirVersion)
	for _, c := range []struct {
		name   string
		peers  conns
		mode   Mode
		known  Speaks
		speaks string // "v2", "v1" or "", an error
		dials  int
		after  Speaks // what is known of the peer at the end
	}{
		{"v2", conns{v2}, Never, SpeaksUnknown, "v2", 1, SpeaksV2},
		{"v2 where v1 is allowed", conns{v2}, Always, SpeaksUnknown, "v2", 1, SpeaksV2},
		{"proven v2", conns{cut, v1}, Always, SpeaksV2, "", 1, SpeaksV2},
		{"a v1 header", conns{speaksFirst(theirVersion), v1}, Always, SpeaksUnknown, "v1", 2, SpeaksV1},
		{"a v1 header, strict", conns{speaksFirst(theirVersion), v1}, Never, SpeaksUnknown, "", 1, SpeaksUnknown},
		{"any other byte", conns{speaksFirst([]byte{1}), v1}, Always, SpeaksUnknown, "", 1, SpeaksUnknown},
		{"fewer than 24 bytes sent", conns{hangsUpUnread, v1}, Always, SpeaksUnknown, "", 1, SpeaksUnknown},
		{"hung up twice", conns{cut, cut, v1}, Always, SpeaksUnknown, "v1", 3, SpeaksV1},
		{"hung up twice, strict", conns{cut, cut, v1}, Never, SpeaksUnknown, "", 1, SpeaksUnknown},
		{"hung up twice, not encrypted", conns{cut, cut, v1}, Overlay, SpeaksUnknown, "", 1, SpeaksUnknown},
		{"hung up, then v2", conns{cut, v2}, Always, SpeaksUnknown, "v2", 2, SpeaksV2},
		{"silent", conns{saysNothing, v1}, Always, SpeaksUnknown, "v1", 2, SpeaksV1},
		{"silent, strict", conns{saysNothing, v1}, Never, SpeaksUnknown, "", 1, SpeaksUnknown},
		{"known v1", conns{v1}, Always, SpeaksV1, "v1", 1, SpeaksV1},
		{"known v1, strict", conns{v2}, Never, SpeaksV1, "v2", 1, SpeaksV2},
		{"just refused v2", conns{saysNothing, cut, v1}, Always, RefusedV2, "v1", 3, SpeaksV1},
		{"v1 without an answer", conns{saysNothing, nodeV1(t, nil)}, Always, SpeaksUnknown, "v1", 2, SpeaksUnknown},
		{"v1 with half a header", conns{saysNothing, nodeV1(t, theirVersion[:15])}, Always, SpeaksUnknown, "v1", 2, SpeaksUnknown},
		{"v1 with an answer in something else", conns{saysNothing, nodeV1(t, []byte("HTTP/1.1 400 Bad Request"))}, Always, SpeaksUnknown, "v1", 2, SpeaksUnknown},
	} {
		for _, named := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				wire := &pipes{peers: c.peers}
				told := 0
				d := &Dialer{Mode: c.mode, Peers: new(Peers), Dial: wire.dial, Direct: true, Config: transport.Config{Garbage: []byte{}},
					OnV1: func(addr string, link Link) {
						if told++; addr != addrA || link.Cause == nil || link.V2 != nil || link.Overlay {
							t.Errorf("%s, named: %v: told of %s, %+v", c.name, named, addr, link)
						}
					}}
				if c.mode == Overlay {
					d.Overlay = func(context.Context, string, net.Addr) error { return errors.New("it does not encrypt") }
				}
				if c.known != SpeaksUnknown {
					d.Peers.Note(addrA, c.known)
				}
				if named {
					d.Config.Magic = mainnet
				}
				speaks, err := d.exchangeVersions(t, len(theirVersion))
				if speaks != c.speaks || (err == nil) != (c.speaks != "") || len(wire.dialled) != c.dials {
					t.Errorf("%s, named: %v: spoke %q, %v, dialled %v", c.name, named, speaks, err, wire.dialled)
				}
				time.Sleep(time.Hour) // nothing comes later
				synctest.Wait()
				if (told == 1) != (c.speaks == "v1") || told > 1 {
					t.Errorf("%s, named: %v: spoke %q, told %d times", c.name, named, speaks, told)
				}
				if got := d.Peers.Lookup(addrA); got != c.after || len(wire.dialled) != c.dials {
					t.Errorf("%s, named: %v: the peer is known as %v, dialled %v", c.name, named, got, wire.dialled)
				}
			})
		}
	}
}

// exchangeVersions is a session in which each side sends VERSION. It returns what was spoken.
func (d *Dialer) exchangeVersions(t *testing.T, size int) (speaks string, err error) {
	nc, err := d.DialContext(t.Context(), "tcp", addrA)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	conn := nc.(*v1v2.Conn)
	if got := conn.Transport(); (got == "detecting") != (d.Config.Magic == [4]byte{}) {
		t.Errorf("after DialContext the transport is %s", got)
	}
	if n, err := conn.Write(ourVersion); err != nil {
		if conn.Transport() != "detecting" {
			t.Errorf("after %d bytes and %v the transport is %s", n, err, conn.Transport())
		}
		return "", err
	}
	if _, id := conn.SessionID(); id != (conn.Transport() == "v2") {
		t.Errorf("%s has a session id: %v", conn.Transport(), id)
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, size)
	n, err := io.ReadFull(conn, got)
	if conn.Transport() == "v2" && (err != nil || !bytes.Equal(got, theirVersion)) {
		t.Errorf("read %x, %v", got[:n], err)
	}
	return conn.Transport(), nil
}

// The errors of Upgrade arrive with the address, and nothing is left open.
func TestDialContextErrors(t *testing.T) {
	for _, named := range []bool{false, true} {
		for _, c := range []struct {
			name string
			mode Mode
			note Speaks
			is   func(error) bool
		}{
			{"strict", Never, SpeaksUnknown, isA[*transport.HandshakeError]},
			{"proven", Always, SpeaksV2, isA[*ProvenV2Error]},
			{"no second connection", Always, SpeaksUnknown, isA[*RedialError]},
			{"no overlay", Overlay, SpeaksUnknown, isA[*OverlayError]},
		} {
			synctest.Test(t, func(t *testing.T) {
				wire := &pipes{peers: []pipePeer{hangsUpAfter(0)}}
				d := &Dialer{Mode: c.mode, Peers: new(Peers), Direct: true, Config: transport.Config{Garbage: []byte{}},
					Overlay: func(context.Context, string, net.Addr) error { return errors.New("it does not encrypt") },
					Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						if len(wire.dialled) > 0 {
							return nil, errors.New("unreachable")
						}
						return wire.dial(ctx, network, addr)
					}}
				d.Peers.Note(addrA, c.note)
				if named {
					d.Config.Magic = mainnet
				}
				speaks, err := d.exchangeVersions(t, 1)
				if !c.is(err) || !isA[*transport.HandshakeError](err) || !strings.HasPrefix(err.Error(), addrA+": the v2 handshake failed ") {
					t.Errorf("%s, named: %v: spoke %q, %v", c.name, named, speaks, err)
				}
			})
		}
	}
}

func isA[E error](err error) bool { return errors.As(err, new(E)) }

// A peer counts as v2 from the end of its last session.
func TestDialContextNotesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := &pipes{peers: []pipePeer{nodeV2(t)}}
		d := &Dialer{Peers: new(Peers), Dial: wire.dial, Direct: true, Config: transport.Config{Magic: mainnet, Garbage: []byte{}}}
		conn, err := d.DialContext(t.Context(), "tcp", addrA)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(ourVersion)
		time.Sleep(29 * 24 * time.Hour)
		conn.Close()
		time.Sleep(29 * 24 * time.Hour)
		if got := d.Peers.Lookup(addrA); got != SpeaksV2 {
			t.Errorf("29 days after the session the peer is known as %v", got)
		}
	})
}
