package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/test/hostile"
)

// inboundAddr is where peers connect to in a namespace.
const inboundAddr = "9.9.9.9:8333"

// startPublic is startInbound at inboundAddr, in a namespace that has all IPv4 addresses of public networks.
func startPublic(t *testing.T, network, node string, flags ...string) *inboundProxy {
	t.Helper()
	return &inboundProxy{startProxy(t, append([]string{"--inbound", inboundAddr + "=" + node, "--inbound-network", network}, flags...)...), inboundAddr}
}

// takeAddresses makes all addresses of networks this namespace's.
func takeAddresses(t *testing.T, networks ...string) {
	t.Helper()
	for _, network := range networks {
		command(t, "ip", "route", "add", "local", network, "dev", "lo")
	}
}

// publicNetworks have all peers' addresses in these tests.
var publicNetworks = []string{"8.0.0.0/7", "64.0.0.0/6"}

// dialFrom connects to an address from another.
func dialFrom(from, to string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	nc, err := d.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	return nc.(*net.TCPConn), nil
}

// countingNode is a node that speaks v1 and counts its connections.
type countingNode struct {
	addr          string
	accepted, now atomic.Int64
}

// startCountingNode starts a node that answers VERSION with VERSION and VERACK, and PING with PONG.
func startCountingNode(t *testing.T) *countingNode {
	t.Helper()
	n := &countingNode{}
	n.addr = listen(t, func(nc *net.TCPConn) {
		n.accepted.Add(1)
		n.now.Add(1)
		defer n.now.Add(-1)
		for {
			switch name, payload, err := hostile.ReadV1On(regtestMagic, nc); {
			case err != nil:
				return
			case name == "version":
				nc.Write(append(hostile.V1On(regtestMagic, "version", hostile.Version("/node:1/")), hostile.V1On(regtestMagic, "verack", nil)...))
			case name == "ping":
				nc.Write(hostile.V1On(regtestMagic, "pong", payload))
			}
		}
	})
	return n
}

// inboundPeer is a peer with an address of its own that has a session.
type inboundPeer struct {
	*hostile.End
	nc *net.TCPConn
}

// joinNode connects to the proxy in v2 from an address, and completes the handshake of VERSION and VERACK with the node,
// on regtest.
func joinNode(from, to string) (*inboundPeer, error) { return joinNodeOn(regtestMagic, from, to) }

// joinNodeOn is joinNode on the network with that magic.
func joinNodeOn(magic [4]byte, from, to string) (*inboundPeer, error) {
	nc, err := dialFrom(from, to)
	if err != nil {
		return nil, err
	}
	p := &inboundPeer{nc: nc}
	if err := p.greet(magic); err != nil {
		nc.Close()
		return nil, err
	}
	return p, nil
}

func (p *inboundPeer) greet(magic [4]byte) (err error) {
	if p.End, err = (hostile.Script{Magic: magic}).Shake(p.nc, true); err != nil {
		return err
	}
	me := wire.NewNetAddressIPPort(net.IPv4zero, 0, 0)
	version := wire.NewMsgVersion(me, me, uint64(time.Now().UnixNano()), 0)
	version.Services = wire.SFNodeNetwork | wire.SFNodeWitness // gocoin takes no others
	version.AddUserAgent("peer", "1")
	var payload bytes.Buffer
	if err := version.BtcEncode(&payload, wire.ProtocolVersion, wire.BaseEncoding); err != nil {
		return err
	}
	if err := p.Send(hostile.V2("version", payload.Bytes())); err != nil {
		return err
	}
	for {
		contents, err := p.Receive()
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(contents, []byte("\x00version\x00")):
			if err := p.Send(hostile.V2("verack", nil)); err != nil {
				return err
			}
		case bytes.HasPrefix(contents, []byte("\x00verack\x00")):
			return nil
		}
	}
}

// ping sends a PING to the node and returns how long the PONG took.
func (p *inboundPeer) ping() (time.Duration, error) {
	began := time.Now()
	p.nc.SetDeadline(began.Add(patience))
	if err := p.Send(hostile.V2("ping", []byte("nonce567"))); err != nil {
		return 0, err
	}
	for {
		contents, err := p.Receive()
		if err != nil || bytes.Equal(contents, hostile.V2("pong", []byte("nonce567"))) {
			return time.Since(began), err
		}
	}
}

// answers reports whether the node answers a PING.
func (p *inboundPeer) answers() bool {
	_, err := p.ping()
	return err == nil
}

// isCut reports whether the peer's connection ends before long.
func (p *inboundPeer) isCut() bool {
	p.nc.SetDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, p.nc)
	p.nc.Close()
	return !os.IsTimeout(err)
}

// joinAll is joinNode from all addresses at the same time; those that do not get in are nil.
func joinAll(addresses []string, to string, took *durations) []*inboundPeer {
	peers := make([]*inboundPeer, len(addresses))
	var all sync.WaitGroup
	for i, from := range addresses {
		all.Go(func() {
			began := time.Now()
			p, err := joinNode(from, to)
			if err != nil {
				return
			}
			peers[i] = p
			if took != nil {
				took.add(time.Since(began))
			}
		})
	}
	all.Wait()
	return peers
}

// alive returns how many of the peers have a session.
func alive(peers []*inboundPeer) (n int) {
	for _, p := range peers {
		if p != nil && p.answers() {
			n++
		}
	}
	return n
}

// addresses returns the n addresses of a format with a number from 1 to n.
func addresses(format string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf(format, i+1))
	}
	return all
}
