package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"

	"bip324proxy/transport"
	"bip324proxy/v1v2"

	"github.com/btcsuite/btcd/v2transport"
	socksclient "golang.org/x/net/proxy"
)

// clientCommand makes this program a client of the library scenario: a separate process, whose CPU time is that of
// one kind of program alone.
const clientCommand = "client"

// The kinds of programs. All read a header and then its payload into one buffer, and write a header and then its
// payload, as btcd's wire package does; those that speak v1 compute its checksum.
const (
	bareV1   = "v1"        // a net.Conn
	viaProxy = "via proxy" // the same, through the proxy
	withConn = "Conn"      // the same, on a v1v2.Conn
	withBtcd = "btcd"      // btcd's v2transport

	viaRun     = "via run"     // a net.Conn, under run
	viaSeccomp = "via seccomp" // likewise, by seccomp
)

// orders are the actions that the parent asks of a client, by name.
var orders = map[string]func(c *client, t traffic, n int) error{
	"open": func(c *client, _ traffic, _ int) (err error) {
		c.s, err = c.dialAgain()
		return err
	},
	"receive": func(c *client, t traffic, n int) error { return c.s.receive(n*len(t), true) },
	"read":    func(c *client, t traffic, n int) error { return c.s.receive(n*len(t), false) },
	"send":    func(c *client, t traffic, n int) error { return c.send(t, n, true) },
	"write":   func(c *client, t traffic, n int) error { return c.send(t, n, false) },
	"answer": func(c *client, t traffic, n int) error {
		for range n {
			if err := errors.Join(c.s.receive(1, true), c.s.send(t[0], true)); err != nil {
				return err
			}
		}
		return nil
	},
	"connect": func(c *client, _ traffic, n int) error {
		for range n {
			s, err := c.dialAgain()
			if err != nil {
				return err
			}
			s.Close()
		}
		return nil
	},
	"wait": func(c *client, _ traffic, n int) error { // for messages on n more sessions
		for range n {
			s, err := c.dialAgain()
			if err != nil {
				return err
			}
			go s.receive(1, true)
		}
		debug.FreeOSMemory()
		return nil
	},
}

var loadsByName = map[string]traffic{"": nil, "blocks": blocks, "invs": invs, "ping": {{"ping", make([]byte, 8)}}}

// order is a request to a client: n times the traffic of that name.
type order struct {
	Do   string
	Load string
	N    int
}

// answer is what a client returns: what was wrong, or its allocations meanwhile.
type answer struct {
	Err           string
	Allocs, Bytes uint64
}

// client is one kind of program.
type client struct {
	kind, node, proxy string
	s                 clientSession
}

// clientSession is a connection of a client that has exchanged VERSIONs.
type clientSession interface {
	receive(n int, check bool) error
	send(m message, check bool) error
	Close() error
}

// serveClient does what the orders on stdin say.
func serveClient(kind, node, proxy string) error {
	c := &client{kind: kind, node: node, proxy: proxy}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return err
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := orders[o.Do](c, loadsByName[o.Load], o.N)
		runtime.ReadMemStats(&after)
		a := answer{Allocs: after.Mallocs - before.Mallocs, Bytes: after.TotalAlloc - before.TotalAlloc}
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func (c *client) send(t traffic, n int, check bool) error {
	for range n {
		for _, m := range t {
			if err := c.s.send(m, check); err != nil {
				return err
			}
		}
	}
	return nil
}

// dialAgain is dial with a second attempt for btcd's package, which cannot read 4095 bytes of garbage, the most that
// BIP324 allows.
func (c *client) dialAgain() (clientSession, error) {
	s, err := c.dial()
	if err != nil && c.kind == withBtcd {
		return c.dial()
	}
	return s, err
}

func (c *client) dial() (s clientSession, err error) {
	var conn net.Conn
	if c.kind == viaProxy {
		d, err := socksclient.SOCKS5("tcp", c.proxy, nil, nil)
		if err != nil {
			return nil, err
		}
		conn, err = d.Dial("tcp", c.node)
		if err != nil {
			return nil, err
		}
	} else if conn, err = net.Dial("tcp", c.node); err != nil {
		return nil, err
	}
	switch c.kind {
	case withConn:
		if conn, err = v1v2.Client(context.Background(), conn, transport.Config{Magic: magic}); err != nil {
			return nil, err
		}
		s = &v1Program{Conn: conn}
	case withBtcd:
		if s, err = newBtcdProgram(conn); err != nil {
			return nil, err
		}
	default:
		s = &v1Program{Conn: conn}
	}
	if err := s.send(version, true); err != nil {
		return nil, err
	}
	return s, s.receive(1, true)
}

// v1Program speaks v1 on any net.Conn.
type v1Program struct {
	net.Conn
	head [v1v2.HeaderSize]byte
	buf  []byte
	last string // the header in head is of a message of this type
}

func checksum(payload []byte) [4]byte {
	once := sha256.Sum256(payload)
	twice := sha256.Sum256(once[:])
	return [4]byte(twice[:])
}

func (p *v1Program) receive(n int, check bool) error {
	for range n {
		if _, err := io.ReadFull(p.Conn, p.head[:]); err != nil {
			return err
		}
		size := int(binary.LittleEndian.Uint32(p.head[16:]))
		if size > len(p.buf) {
			p.buf = make([]byte, size)
		}
		payload := p.buf[:size]
		if _, err := io.ReadFull(p.Conn, payload); err != nil {
			return err
		}
		if check && checksum(payload) != [4]byte(p.head[20:]) {
			return errors.New("wrong checksum")
		}
	}
	p.last = ""
	return nil
}

func (p *v1Program) send(m message, check bool) error {
	if check || p.last != m.name {
		t := v1v2.TypeOf(m.name)
		copy(p.head[:], magic[:])
		copy(p.head[4:], t[:])
		binary.LittleEndian.PutUint32(p.head[16:], uint32(len(m.payload)))
		sum := checksum(m.payload)
		copy(p.head[20:], sum[:])
		p.last = m.name
	}
	if _, err := p.Conn.Write(p.head[:]); err != nil {
		return err
	}
	_, err := p.Conn.Write(m.payload)
	return err
}

// btcdProgram speaks v2 with btcd's package, whose packets have no checksum to compute.
type btcdProgram struct {
	net.Conn
	peer     *v2transport.Peer
	contents []byte
}

func newBtcdProgram(conn net.Conn) (*btcdProgram, error) {
	peer := v2transport.NewPeer()
	peer.UseReadWriter(conn)
	if err := peer.InitiateV2Handshake(rand.IntN(4096)); err != nil { // as much garbage as our average
		return nil, err
	}
	net := v2transport.BitcoinNet(binary.LittleEndian.Uint32(magic[:]))
	if err := peer.CompleteHandshake(true, nil, net); err != nil {
		return nil, err
	}
	return &btcdProgram{Conn: conn, peer: peer}, nil
}

func (p *btcdProgram) receive(n int, _ bool) error {
	for range n {
		contents, err := p.peer.V2ReceivePacket(nil)
		if err != nil {
			return err
		}
		if _, _, ok := v1v2.Decode(contents); !ok {
			return fmt.Errorf("a packet of %d bytes without a message", len(contents))
		}
	}
	return nil
}

func (p *btcdProgram) send(m message, _ bool) error {
	p.contents = v1v2.AppendContents(p.contents[:0], v1v2.TypeOf(m.name), m.payload)
	_, _, err := p.peer.V2EncPacket(p.contents, nil, false)
	return err
}
