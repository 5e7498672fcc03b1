package test

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// inboundAddr is where peers connect to in a namespace.
const inboundAddr = "9.9.9.9:8333"

// startPublic is startInbound at inboundAddr, in a namespace that has all IPv4 addresses of public networks.
func startPublic(t *testing.T, node string, flags ...string) *inboundProxy {
	t.Helper()
	return &inboundProxy{startProxy(t, append([]string{"--inbound", inboundAddr + "=" + node, "--inbound-network", "regtest"}, flags...)...), inboundAddr}
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

// inboundPeer is a peer with a session.
type inboundPeer struct {
	*hostile.End
	nc *net.TCPConn
}

var peerVersion = hostile.V2("version", hostile.Version("/peer:1/"))

// joinNode connects to the proxy from an address, and waits for the node's VERACK.
func joinNode(from, to string) (*inboundPeer, error) {
	nc, err := dialFrom(from, to)
	if err != nil {
		return nil, err
	}
	end, err := hostile.Script{Magic: regtestMagic}.Shake(nc, true)
	if err == nil {
		err = end.Send(peerVersion)
	}
	for err == nil {
		var contents []byte
		if contents, err = end.Receive(); err == nil && bytes.HasPrefix(contents, []byte("\x00verack\x00")) {
			return &inboundPeer{end, nc}, nil
		}
	}
	nc.Close()
	return nil, err
}

// ping sends a PING to the node and returns how long the PONG took.
func (p *inboundPeer) ping() (time.Duration, error) {
	began := time.Now()
	p.nc.SetDeadline(began.Add(patience))
	if err := p.Send([]byte("\x12nonce567")); err != nil {
		return 0, err
	}
	contents, err := p.Receive()
	if err == nil && !bytes.Equal(contents, []byte("\x13nonce567")) {
		err = fmt.Errorf("got %q instead of a PONG", contents)
	}
	return time.Since(began), err
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
		if p != nil {
			if _, err := p.ping(); err == nil {
				n++
			}
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
