package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"

	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// Sizes of the responder's flight of a scripted peer.
const (
	keySize     = 64
	garbageSize = 30
	helloSize   = keySize + garbageSize + 16 // with the terminator
	flightSize  = helloSize + 20             // with an empty version packet
)

func peerConfig(magic [4]byte) transport.Config {
	return transport.Config{Magic: magic, Garbage: randomBytes(garbageSize, 2)}
}

// handPeer performs the responder's half of a handshake; its user does the sending.
type handPeer struct {
	nc     *net.TCPConn
	h      *transport.Handshake
	flight []byte
}

// newHandPeer reads the initiator's key and prepares the flight that answers it.
func newHandPeer(nc *net.TCPConn, magic [4]byte) (*handPeer, error) {
	h, err := transport.NewHandshake(peerConfig(magic), false)
	if err != nil {
		return nil, err
	}
	p := &handPeer{nc: nc, h: h}
	for len(p.flight) < flightSize {
		if err := p.read(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *handPeer) read() error {
	var b [8192]byte
	n, err := p.nc.Read(b[:])
	if err != nil {
		return err
	}
	_, send, err := p.h.Receive(b[:n])
	p.flight = append(p.flight, send...)
	return err
}

// readFlight reads until the initiator's version packet has arrived.
func (p *handPeer) readFlight() error {
	for p.h.Stage() < transport.StageDone {
		if err := p.read(); err != nil {
			return err
		}
	}
	return nil
}

// v2Peer returns a peer that completes a handshake and then calls play.
func v2Peer(play func(*transport.Conn)) func(*net.TCPConn, int) {
	return func(nc *net.TCPConn, _ int) {
		c, err := transport.Server(context.Background(), nc, peerConfig(mainnet))
		if err != nil {
			return
		}
		play(c)
	}
}

// mangler is a socket that alters one write.
type mangler struct {
	*net.TCPConn
	mangle func([]byte) []byte
}

func (m *mangler) Write(p []byte) (int, error) {
	if m.mangle != nil {
		if _, err := m.TCPConn.Write(m.mangle(bytes.Clone(p))); err != nil {
			return 0, err
		}
		m.mangle = nil
		return len(p), nil
	}
	return m.TCPConn.Write(p)
}

// manglingPeer completes a handshake, reads VERSION, and sends one ping with ten bytes of contents,
// altered.
func manglingPeer(mangle func([]byte) []byte) func(*net.TCPConn, int) {
	return func(nc *net.TCPConn, _ int) {
		m := &mangler{TCPConn: nc}
		c, err := transport.Server(context.Background(), m, peerConfig(mainnet))
		if err != nil {
			return
		}
		if _, err := c.ReadPacket(); err != nil {
			return
		}
		m.mangle = mangle
		c.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("ping"), randomBytes(9, 3)))
		io.Copy(io.Discard, nc)
	}
}

// promise changes the encrypted length of a packet with ten bytes of contents to n.
func promise(n int) func([]byte) []byte {
	return func(p []byte) []byte {
		for i := range 3 {
			p[i] ^= byte((10 ^ n) >> (8 * i))
		}
		return p
	}
}

// speakV1 answers one message with VERSION and returns everything it read.
func speakV1(nc net.Conn) []byte {
	var all bytes.Buffer
	if name, _, err := readV1(io.TeeReader(nc, &all)); err != nil {
		return fmt.Appendf(nil, "%s: %v", name, err)
	}
	nc.Write(v1Message(mainnet, "version", []byte("of the peer")))
	io.Copy(&all, nc)
	return all.Bytes()
}
