package test

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"testing"
	"time"

	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/connmgr"
	btcd "github.com/btcsuite/btcd/peer"
	"github.com/btcsuite/btcd/wire/v2"
)

// btcd's package peer, which many Go programs use, speaks v1 on a Conn, and gets headers, blocks and the announcement
// of a new block from a v2 node.
func TestConnUnderBtcdsPeer(t *testing.T) {
	t.Parallel()
	const blocks = 30
	node := startBtcdNode(t, newWallet(t, &chaincfg.RegressionNetParams), "--v2transport")
	node.mine(blocks)
	garbage := make([]byte, 1000) // at random it could be one byte more than btcd accepts
	named := transport.Config{Magic: regtestMagic, Garbage: garbage}
	for _, c := range []struct {
		name string
		dial func(ctx context.Context, network, addr string) (net.Conn, error)
	}{
		{"DialContext", (&fallback.Dialer{Config: transport.Config{Garbage: garbage}}).DialContext},
		{"DialContext with the magic", (&fallback.Dialer{Config: named}).DialContext},
		{"Client", func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return v1v2.Client(ctx, nc, named)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			observer := startRecorder(t, node.p2p)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			nc, err := c.dial(ctx, "tcp", observer.addr)
			if err != nil {
				t.Fatal(err)
			}
			client := newPeerClient(t, nc, observer.addr)
			headers := client.headers(t)
			if height := ask[int](t, node, "getblockcount"); len(headers) != height {
				t.Errorf("got %d headers, want %d", len(headers), height)
			}
			for i, header := range headers {
				hash := header.BlockHash()
				if want := ask[string](t, node, "getblockhash", i+1); hash.String() != want {
					t.Errorf("header %d is of block %v, want %s", i, hash, want)
				}
				if i%3 == 0 {
					client.requireBlock(t, node, wire.NewInvVect(wire.InvTypeBlock, &hash))
				}
			}
			node.mine(1)
			client.requireBlock(t, node, await(t, client.announced, "the new block is announced"))

			if p := node.onlyPeer(t); !p.V2 || !p.Inbound {
				t.Errorf("to the node it is not an inbound v2 peer: %+v", p)
			}
			conn := nc.(*v1v2.Conn)
			if _, known := conn.SessionID(); !known || conn.Transport() != "v2" {
				t.Errorf("Transport is %q, SessionID known: %v", conn.Transport(), known)
			}
			client.Disconnect()
			client.WaitForDisconnect()
			eventually(t, "the node has no peer", func() bool { return len(ask[[]any](t, node, "getpeerinfo")) == 0 })
			requireUnreadable(t, observer.last(), &chaincfg.RegressionNetParams)
		})
	}
}

// btcd's package connmgr takes the dialer and the Listener: between two programs that speak v1 to their connections, all
// is v2.
func TestConnInBtcdsConnmgr(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	observer := startRecorder(t, tcp.Addr().String())
	addr, err := net.ResolveTCPAddr("tcp", observer.addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var dialer fallback.Dialer
	ends := make(chan *v1v2.Conn, 2)
	versions := make(chan string, 2)
	config := peerConfig(btcd.MessageListeners{OnVersion: func(_ *btcd.Peer, m *wire.MsgVersion) *wire.MsgReject {
		versions <- m.UserAgent
		return nil
	}})
	config.AllowSelfConns = true
	associate := func(p *btcd.Peer, nc net.Conn) {
		t.Cleanup(p.Disconnect)
		p.AssociateConnection(nc)
		ends <- nc.(*v1v2.Conn)
	}
	manager, err := connmgr.New(&connmgr.Config{
		Dial: func(a net.Addr) (net.Conn, error) { return dialer.DialContext(ctx, a.Network(), a.String()) },
		OnConnection: func(_ *connmgr.ConnReq, nc net.Conn) {
			p, err := btcd.NewOutboundPeer(config, observer.addr)
			if err != nil {
				t.Error(err)
				return
			}
			associate(p, nc)
		},
		Listeners: []net.Listener{&v1v2.Listener{Listener: tcp, Config: transport.Config{Magic: regtestMagic}}},
		OnAccept:  func(nc net.Conn) { associate(btcd.NewInboundPeer(config), nc) },
	})
	if err != nil {
		t.Fatal(err)
	}
	manager.Start()
	defer manager.Wait()
	defer manager.Stop()
	go manager.Connect(&connmgr.ConnReq{Addr: addr})

	for range 2 {
		if agent := await(t, versions, "each end gets a VERSION"); agent != "/btcwire:0.5.0/peer:1.0.0/" {
			t.Errorf("got a VERSION of %q", agent)
		}
	}
	one, _ := await(t, ends, "it connects").SessionID()
	other, ok := await(t, ends, "it accepts").SessionID()
	if !ok || one != other {
		t.Errorf("the ends have the session ids %x and %x, %v", one, other, ok)
	}
	requireUnreadable(t, observer.last(), &chaincfg.RegressionNetParams)
}

// peerClient is a client around btcd's package peer. Each channel gets the messages of one type.
type peerClient struct {
	*btcd.Peer
	headersIn chan *wire.MsgHeaders
	blocks    chan []byte
	announced chan *wire.InvVect
}

// newPeerClient returns a client that has exchanged VERSION and VERACK with the peer on nc.
func newPeerClient(t *testing.T, nc net.Conn, addr string) *peerClient {
	t.Helper()
	c := &peerClient{headersIn: make(chan *wire.MsgHeaders, 1), blocks: make(chan []byte, 1), announced: make(chan *wire.InvVect, 1)}
	ready := make(chan struct{})
	var err error
	c.Peer, err = btcd.NewOutboundPeer(peerConfig(btcd.MessageListeners{
		OnVerAck:  func(*btcd.Peer, *wire.MsgVerAck) { close(ready) },
		OnHeaders: func(_ *btcd.Peer, m *wire.MsgHeaders) { c.headersIn <- m },
		OnBlock: func(_ *btcd.Peer, m *wire.MsgBlock, _ []byte) {
			var raw bytes.Buffer
			m.Serialize(&raw) // a bytes.Buffer takes everything
			c.blocks <- raw.Bytes()
		},
		OnInv: func(_ *btcd.Peer, m *wire.MsgInv) {
			for _, item := range m.InvList {
				if item.Type == wire.InvTypeBlock {
					c.announced <- item
				}
			}
		},
	}), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Disconnect)
	c.AssociateConnection(nc)
	await(t, ready, "it gets a VERACK")
	return c
}

// peerConfig returns the configuration of a peer of btcd's on regtest that speaks v1.
func peerConfig(listeners btcd.MessageListeners) *btcd.Config {
	return &btcd.Config{
		UserAgentName:    "peer",
		UserAgentVersion: "1.0.0",
		ChainParams:      &chaincfg.RegressionNetParams,
		TrickleInterval:  100 * time.Millisecond,
		Listeners:        listeners,
	}
}

// headers asks for all headers after the genesis block.
func (c *peerClient) headers(t *testing.T) []*wire.BlockHeader {
	t.Helper()
	request := wire.NewMsgGetHeaders()
	if err := request.AddBlockLocatorHash(chaincfg.RegressionNetParams.GenesisHash); err != nil {
		t.Fatal(err)
	}
	c.QueueMessage(request, nil)
	return await(t, c.headersIn, "it gets headers").Headers
}

// requireBlock checks that the client gets the same block as the node has.
func (c *peerClient) requireBlock(t *testing.T, node *node, item *wire.InvVect) {
	t.Helper()
	request := wire.NewMsgGetData()
	if err := request.AddInvVect(wire.NewInvVect(wire.InvTypeWitnessBlock, &item.Hash)); err != nil {
		t.Fatal(err)
	}
	c.QueueMessage(request, nil)
	got := await(t, c.blocks, "it gets the block")
	if want := ask[string](t, node, "getblock", item.Hash.String(), 0); hex.EncodeToString(got) != want {
		t.Errorf("block %v: got %x, want %s", item.Hash, got, want)
	}
}

// await returns what arrives on the channel.
func await[T any](t *testing.T, from <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
	return got
}
