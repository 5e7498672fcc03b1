package test

import (
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"bip324proxy/transport"
	"bip324proxy/v1v2"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// A btcd without v2 is behind a Listener. Another btcd syncs from it in v2, gets its transactions, and has no v1
// connection to anybody.
func TestListenerInFrontOfBtcd(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startV1Node(t, w)
	front := startFront(t, node.p2p, false)
	observer := startRecorder(t, front.addr)
	client := startBtcd(t, "client", w.params, "--nolisten", "--connect="+observer.addr, "--v2transport")
	catchUp(t, client, node)
	followBlocks(t, client, node, 10)
	followTransaction(t, client, node, w)

	if p := client.onlyPeer(t); !p.V2 || p.Inbound {
		t.Errorf("to the client the node is not an outbound v2 peer: %+v", p)
	}
	if p := node.onlyPeer(t); p.V2 || !p.Inbound {
		t.Errorf("the node does not speak v1, so this test proves nothing: %+v", p)
	}
	for _, conn := range front.accepted() {
		if id, ok := conn.SessionID(); conn.Transport() != "v2" || !ok || id == [32]byte{} {
			t.Errorf("Transport is %q, SessionID %x, %v", conn.Transport(), id, ok)
		}
	}
	client.kill()
	for _, conn := range observer.connections() {
		requireUnreadable(t, conn, w.params)
	}
}

// The same with Bitcoin Core, which shows the session id.
func TestCoreThroughListener(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startV1Node(t, w)
	front := startFront(t, node.p2p, false)
	observer := startRecorder(t, front.addr)
	client := startBitcoind(t, "client", "-listen=0", "-v2transport=1", "-connect="+observer.addr)
	catchUp(t, client, node)
	followBlocks(t, client, node, 10)
	followTransaction(t, client, node, w)

	seen, conns := client.onlyPeer(t), front.accepted()
	if !slices.ContainsFunc(conns, func(conn *v1v2.Conn) bool {
		id, ok := conn.SessionID()
		return ok && conn.Transport() == "v2" && hex.EncodeToString(id[:]) == seen.SessionID
	}) || seen.Transport != "v2" {
		t.Errorf("to Core the node is %+v, and of %d connections none has that session id", seen, len(conns))
	}
	if p := node.onlyPeer(t); p.V2 || !p.Inbound {
		t.Errorf("the node does not speak v1, so this test proves nothing: %+v", p)
	}
	client.kill()
	for _, conn := range observer.connections() {
		requireUnreadable(t, conn, w.params)
	}
}

// A btcd that speaks only v1 syncs through a Listener that allows it, and gets nothing from one that does not.
func TestListenerForV1Btcd(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startV1Node(t, w)
	strict, lenient := startFront(t, node.p2p, false), startFront(t, node.p2p, true)
	observer := startRecorder(t, strict.addr)
	startBtcd(t, "refused", w.params, "--nolisten", "--connect="+observer.addr)
	client := startBtcd(t, "client", w.params, "--nolisten", "--connect="+lenient.addr)
	catchUp(t, client, node)

	for _, conn := range lenient.accepted() {
		if _, ok := conn.SessionID(); ok || conn.Transport() != "v1" {
			t.Errorf("Transport is %q, SessionID known: %v", conn.Transport(), ok)
		}
	}
	if err := await(t, strict.failures, "the strict Listener refuses v1"); !errors.Is(err, transport.ErrV1Peer) {
		t.Errorf("the strict Listener reports %v, want ErrV1Peer", err)
	}
	if _, got := observer.connections()[0].bytes(); len(got) > 0 {
		t.Errorf("the peer that speaks v1 got %x", got)
	}
}

// startV1Node runs a btcd without v2 that has mined 250 blocks to w.
func startV1Node(t *testing.T, w *wallet) *node {
	t.Helper()
	node := startBtcdNode(t, w)
	node.mine(firstTip)
	return node
}

// front is a Listener in front of a node.
type front struct {
	addr     string
	failures chan error // the first ones
	mu       sync.Mutex
	conns    []*v1v2.Conn
}

// startFront connects all connections that a Listener accepts to the node, as a v1 program would, until the test ends.
func startFront(t *testing.T, node string, allowV1 bool) *front {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{addr: tcp.Addr().String(), failures: make(chan error, 10)}
	l := &v1v2.Listener{Listener: tcp, AllowV1: allowV1, Config: transport.Config{Magic: regtestMagic},
		OnFailure: func(_ net.Addr, err error) {
			select {
			case f.failures <- err:
			default:
			}
		}}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn.(*v1v2.Conn))
			f.mu.Unlock()
			relays.Go(func() { join(conn.(*v1v2.Conn), node) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		for _, conn := range f.accepted() {
			conn.Close()
		}
		relays.Wait()
	})
	return f
}

// join connects a peer with the node until either hangs up.
func join(peer *v1v2.Conn, node string) {
	defer peer.Close()
	nc, err := net.Dial("tcp", node)
	if err != nil {
		return // like a node that hangs up
	}
	defer nc.Close()
	done := make(chan struct{}, 2)
	way := func(dst, src interface {
		net.Conn
		CloseWrite() error
	}) {
		io.Copy(dst, src)
		dst.CloseWrite()
		done <- struct{}{}
	}
	go way(peer, nc.(*net.TCPConn))
	go way(nc.(*net.TCPConn), peer)
	<-done
	<-done
}

// accepted returns the connections so far, oldest first.
func (f *front) accepted() []*v1v2.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.conns)
}
