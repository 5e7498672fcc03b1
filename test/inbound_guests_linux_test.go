package test

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/test/hostile"
)

// guest is a peer with an address of its own that comes in through the proxy.
type guest struct {
	*hostile.End
	nc *net.TCPConn
}

// comeIn connects in v2 from an address, and completes the handshake of VERSION and VERACK with the node, on regtest.
func comeIn(from, to string) (*guest, error) { return comeInOn(regtestMagic, from, to) }

// comeInOn is comeIn on the network with that magic.
func comeInOn(magic [4]byte, from, to string) (*guest, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	nc, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	g := &guest{nc: nc.(*net.TCPConn)}
	if err := g.greet(magic); err != nil {
		nc.Close()
		return nil, err
	}
	return g, nil
}

func (g *guest) greet(magic [4]byte) (err error) {
	if g.End, err = (hostile.Script{Magic: magic}).Shake(g.nc, true); err != nil {
		return err
	}
	me := wire.NewNetAddressIPPort(net.IPv4zero, 0, 0)
	version := wire.NewMsgVersion(me, me, uint64(time.Now().UnixNano()), 0)
	version.Services = wire.SFNodeNetwork | wire.SFNodeWitness // gocoin takes no others
	version.AddUserAgent("guest", "1")
	var payload bytes.Buffer
	if err := version.BtcEncode(&payload, wire.ProtocolVersion, wire.BaseEncoding); err != nil {
		return err
	}
	if err := g.Send(hostile.V2("version", payload.Bytes())); err != nil {
		return err
	}
	for {
		contents, err := g.Receive()
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(contents, []byte("\x00version\x00")):
			if err := g.Send(hostile.V2("verack", nil)); err != nil {
				return err
			}
		case bytes.HasPrefix(contents, []byte("\x00verack\x00")):
			return nil
		}
	}
}

// ping reports whether the node answers a PING.
func (g *guest) ping() bool {
	g.nc.SetDeadline(time.Now().Add(patience))
	if g.Send(hostile.V2("ping", []byte("nonce567"))) != nil {
		return false
	}
	for {
		contents, err := g.Receive()
		if err != nil || bytes.Equal(contents, hostile.V2("pong", []byte("nonce567"))) {
			return err == nil
		}
	}
}

// isCut reports whether the peer's connection ends before long.
func (g *guest) isCut() bool {
	g.nc.SetDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, g.nc)
	g.nc.Close()
	return !os.IsTimeout(err)
}

// publicAddress is where guests connect to in a namespace.
const publicAddress = "9.9.9.9:8333"

// giveAddresses gives this namespace that address, and those of guests: 64.0.0.0 to 67.255.255.255.
func giveAddresses(t *testing.T) {
	t.Helper()
	command(t, "ip", "address", "add", "9.9.9.9/32", "dev", "lo")
	command(t, "ip", "route", "add", "local", "64.0.0.0/6", "dev", "lo")
}

// startForGuests runs the proxy in front of a node, at publicAddress.
func startForGuests(t *testing.T, network, node string, flags ...string) *inboundProxy {
	t.Helper()
	return &inboundProxy{startProxy(t, append([]string{"--inbound", publicAddress + "=" + node, "--inbound-network", network}, flags...)...), publicAddress}
}
