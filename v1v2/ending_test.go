package v1v2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"

	"bip324proxy/transport"
)

// checkEnded checks that err is an EndError of side and satisfies is.
func checkEnded(t *testing.T, err error, side Side, is func(error) bool) {
	t.Helper()
	var end *EndError
	if !errors.As(err, &end) || end.Side != side || !is(end.Err) || errors.Unwrap(end) != end.Err || end.Error() == "" {
		t.Errorf("ended with %v, want an expected end by the %s", err, side)
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isLength(n int64) func(error) bool {
	return func(err error) bool {
		var length *LengthError
		return errors.As(err, &length) && int64(length.Length) == n
	}
}

func isMagic(err error) bool {
	var magic *MagicError
	return errors.As(err, &magic)
}

// isSize reports whether a packet's announced length ended the session.
func isSize(err error) bool {
	var size *transport.SizeError
	return errors.As(err, &size)
}

// isSocket reports whether err is an error of the socket, not the end of a stream.
func isSocket(err error) bool {
	return err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !isMagic(err) && !isSize(err)
}

// The client's side ends in every possible way, after a message that must not be lost.
func TestToPeerEnds(t *testing.T) {
	ping, verack := v1Bytes(mainnet, "ping", testBytes(8, 1)), v1Bytes(mainnet, "verack", nil)
	block := v1Bytes(mainnet, "block", testBytes(20_000, 1))
	closeClient := func(l *lab) { l.client.Close() }
	for _, c := range []struct {
		name  string
		after []byte // in one write with a ping
		do    func(*lab)
		side  Side
		is    func(error) bool
	}{
		{"end", nil, closeClient, ClientSide, is(io.EOF)},
		{"end in a header", verack[:10], closeClient, ClientSide, is(io.ErrUnexpectedEOF)},
		{"end in a payload", ping[:25], closeClient, ClientSide, is(io.ErrUnexpectedEOF)},
		{"end in a large payload", block[:10_000], closeClient, ClientSide, is(io.ErrUnexpectedEOF)},
		{"wrong magic", v1Bytes([4]byte{1, 2, 3, 4}, "verack", nil), nil, ClientSide, isMagic},
		{"too long", lying(4_000_001), nil, ClientSide, isLength(4_000_001)},
		{"interrupted", nil, func(l *lab) { l.clientSide.Interrupt() }, ClientSide, is(os.ErrDeadlineExceeded)},
		{"interrupted in a header", verack[:10], func(l *lab) { l.clientSide.Interrupt() }, ClientSide, is(os.ErrDeadlineExceeded)},
		{"interrupted in a payload", block[:1000], func(l *lab) { l.clientSide.Interrupt() }, ClientSide, is(os.ErrDeadlineExceeded)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.write(append(bytes.Clone(ping), c.after...))
				if c.do != nil {
					c.do(l)
				}
				checkEnded(t, <-l.upEnded, c.side, c.is)
				l.checkPeerGot(t, [][]byte{v2Bytes("ping", testBytes(8, 1))})
				if got, want := l.up.load(), (counted{1, 32, 0}); got != want {
					t.Errorf("counted %+v, want %+v", got, want)
				}
			})
		})
	}
}

// The peer's side ends in every possible way, after a message that must not be lost.
func TestToClientEnds(t *testing.T) {
	payload := testBytes(30_000, 1)
	ping := v2Bytes("ping", payload[:8])
	const pingPacket = 9 + 20
	closePeer := func(l *lab) { l.peer.Close() }
	// lengthen changes the encrypted length of an empty packet to n bytes.
	lengthen := func(n int) func(*gate) {
		return func(g *gate) {
			for i := range 3 {
				g.held[pingPacket+i] ^= byte(n >> (8 * i))
			}
		}
	}
	flip := func(at int) func(*gate) { return func(g *gate) { g.held[pingPacket+at] ^= 1 } }
	for _, c := range []struct {
		name   string
		after  []byte // the contents of the next packet
		pass   int    // how many of its bytes pass
		damage func(*gate)
		do     func(*lab)
		is     func(error) bool
	}{
		{"end", nil, 0, nil, closePeer, is(io.EOF)},
		{"end in a length", nil, 2, nil, closePeer, is(io.ErrUnexpectedEOF)},
		{"end in a packet", nil, 19, nil, closePeer, is(io.ErrUnexpectedEOF)},
		{"end in a large packet", payload, 20_000, nil, closePeer, is(io.ErrUnexpectedEOF)},
		{"altered header", nil, 20, flip(3), nil, is(transport.ErrAuthentication)},
		{"altered contents", payload[:100], 120, flip(50), nil, is(transport.ErrAuthentication)},
		{"altered large contents", payload, 30_020, flip(25_000), nil, is(transport.ErrAuthentication)},
		{"length of 4,000,014", nil, 3, lengthen(4_000_014), nil, isSize},
		{"length of 16,777,215", nil, 20, lengthen(1<<24 - 1), nil, isSize},
		{"interrupted", nil, 0, nil, func(l *lab) { l.peerSide.Interrupt() }, is(os.ErrDeadlineExceeded)},
		{"interrupted in a packet", payload, 1000, nil, func(l *lab) { l.peerSide.Interrupt() }, is(os.ErrDeadlineExceeded)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.gate.shut = true
				l.must(t, l.peer.Queue(ping), l.peer.WritePacket(c.after))
				if c.damage != nil {
					c.damage(l.gate)
				}
				l.gate.pass(t, pingPacket+c.pass)
				if c.do != nil {
					c.do(l)
				}
				checkEnded(t, <-l.downEnded, PeerSide, c.is)
				l.checkClientGot(t, v1Bytes(mainnet, "ping", payload[:8]))
				if got, want := l.down.load(), (counted{1, 32, 0}); got != want {
					t.Errorf("counted %+v, want %+v", got, want)
				}
			})
		})
	}
}

// The other side, to which messages are written, is gone.
func TestWritingFails(t *testing.T) {
	for what, payload := range map[string][]byte{
		"small":  testBytes(8, 1),
		"medium": testBytes(17_000, 1), // larger than the reader's buffer
		"large":  testBytes(50_000, 1), // larger than a batch
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.peer.Close()
				<-l.peerDone
				l.client.Write(v1Bytes(mainnet, "tx", payload))
				checkEnded(t, <-l.upEnded, PeerSide, is(io.ErrClosedPipe))
			})
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.client.Close()
				l.must(t, l.peer.WritePacket(v2Bytes("tx", payload)))
				checkEnded(t, <-l.downEnded, ClientSide, is(io.ErrClosedPipe))
			})
		})
	}
	// The write fails while messages are gathered.
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		l.client.Close()
		l.overflow(t)
		go l.gate.Conn.Write(l.gate.held) // until the session ends
		checkEnded(t, <-l.downEnded, ClientSide, is(io.ErrClosedPipe))
	})
	// Over TCP the errors are the system's.
	s := overTCP(t)
	s.peer.NetConn().(*net.TCPConn).SetLinger(0)
	s.peer.Close()
	checkEnded(t, <-s.downEnded, PeerSide, isSocket)
	s.client.Write(v1Bytes(mainnet, "ping", testBytes(8, 1)))
	checkEnded(t, <-s.upEnded, PeerSide, isSocket)
}
