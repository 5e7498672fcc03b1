package v1v2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

var mainnet = transport.Mainnet.Magic

// The example puts a Listener in front of a node that speaks v1 only: its peers speak v2.
func ExampleListener() {
	inner, err := net.Listen("tcp", "127.0.0.1:0") // a node's own port is 8333
	if err != nil {
		fmt.Println(err)
		return
	}
	l := &v1v2.Listener{
		Listener: inner,
		Config: transport.Config{
			Magic:        mainnet,
			ReadTimeout:  20 * time.Minute, // as in Bitcoin Core
			WriteTimeout: 20 * time.Minute,
			Memory:       transport.NewMemory(64 << 20),
		},
		OnFailure: func(peer net.Addr, err error) { log.Printf("%v: %v", peer, err) },
	}
	defer l.Close()
	go servePeers(l, startNode())

	peerOf(l.Addr().String())
	// Output:
	// The node received the VERSION of /peer:1.0/.
	// The peer received the VERSION of /node:1.0/ over v2.
}

// servePeers connects each peer with the node until the listener is closed.
func servePeers(l net.Listener, node string) {
	for {
		peer, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files
			log.Print(err)
			time.Sleep(time.Second)
			continue
		}
		go func() {
			defer peer.Close()
			if err := servePeer(peer.(*v1v2.Conn), node); err != nil {
				log.Printf("%v: %v", peer.RemoteAddr(), err)
			}
		}()
	}
}

// servePeer connects a peer with the node until both have closed their streams.
func servePeer(peer *v1v2.Conn, node string) error {
	// Until the peer's VERSION is there, the connection takes no place in the node.
	version := make([]byte, 1024)
	peer.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, err := peer.Read(version)
	if err != nil {
		return err
	}
	peer.SetReadDeadline(time.Time{})
	conn, err := net.Dial("tcp", node)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(version[:n]); err != nil {
		return err
	}

	done := make(chan error, 2)
	go pass(conn.(*net.TCPConn), peer, done)
	go pass(peer, conn.(*net.TCPConn), done)
	for range 2 {
		if err := <-done; err != nil {
			return err // closing both connections ends the other direction
		}
	}
	return nil
}

// halfCloser is a connection whose directions can be closed one by one.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// pass copies from src to dst until src's stream ends, and then closes that to dst.
func pass(dst, src halfCloser, done chan<- error) {
	_, err := io.Copy(dst, src)
	if err == nil {
		err = dst.CloseWrite()
	}
	done <- err
}

// startNode starts a node that speaks v1, for one peer.
func startNode() (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		defer l.Close()
		nc, err := l.Accept()
		if err != nil {
			panic(err)
		}
		defer nc.Close()
		fmt.Printf("The node received the VERSION of %s.\n", readVersion(nc))
		nc.Write(version("/node:1.0/"))
		io.Copy(io.Discard, nc)
	}()
	return l.Addr().String()
}

// peerOf is a peer that speaks v2.
func peerOf(addr string) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		panic(err)
	}
	c, err := v1v2.Client(context.Background(), nc, transport.Config{Magic: mainnet})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	c.Write(version("/peer:1.0/"))
	fmt.Printf("The peer received the VERSION of %s over %s.\n", readVersion(c), c.Transport())
	c.CloseWrite()
	io.Copy(io.Discard, c)
}

// version returns a VERSION message in v1.
func version(agent string) []byte {
	payload := v1v2.AppendVersion(nil, v1v2.Version{Protocol: 70016, UserAgent: agent}, 1)
	return v1v2.AppendMessage(nil, mainnet, v1v2.TypeOf("version"), payload)
}

// readVersion returns the user agent in the first message.
func readVersion(nc net.Conn) (agent string) {
	m, _, err := v1v2.NewReader(nc, mainnet).Next()
	if err != nil {
		panic(err)
	}
	return v1v2.UserAgent(m.Payload())
}
