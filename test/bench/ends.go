package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	socksclient "golang.org/x/net/proxy"

	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

// patience is the deadline of every step; the run fails when it passes.
const patience = 2 * time.Minute

// end is one end of a session: the client's, in v1, or the node's, in v1 or v2.
type end interface {
	// send sends t, times times.
	send(t traffic, times int) error
	// receive reads n messages.
	receive(n int) error
	// next reads one message and returns its payload.
	next() ([]byte, error)
	net() net.Conn
}

// v1End speaks v1.
type v1End struct {
	conn net.Conn
	in   *bufio.Reader
}

func newV1End(conn net.Conn, buffer int) *v1End {
	return &v1End{conn, bufio.NewReaderSize(conn, buffer)}
}

func (e *v1End) net() net.Conn { return e.conn }

func (e *v1End) send(t traffic, times int) error {
	b := t.v1()
	for range times {
		if _, err := e.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (e *v1End) receive(n int) error {
	for range n {
		head, err := e.in.Peek(v1v2.HeaderSize)
		if err != nil {
			return err
		}
		if [4]byte(head) != magic {
			return errors.New("an unexpected message")
		}
		if _, err := e.in.Discard(v1v2.HeaderSize + int(binary.LittleEndian.Uint32(head[16:]))); err != nil {
			return err
		}
	}
	return nil
}

func (e *v1End) next() ([]byte, error) {
	var head [v1v2.HeaderSize]byte
	if _, err := io.ReadFull(e.in, head[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, binary.LittleEndian.Uint32(head[16:]))
	_, err := io.ReadFull(e.in, payload)
	return payload, err
}

// v2End speaks v2.
type v2End struct{ conn *transport.Conn }

func (e *v2End) net() net.Conn { return e.conn.NetConn() }

func (e *v2End) send(t traffic, times int) error {
	all := t.contents()
	var room []byte
	for range times {
		for _, contents := range all {
			if len(contents) < 16<<10 {
				if err := e.conn.Queue(contents); err != nil {
					return err
				}
				continue
			}
			room = append(room[:0], make([]byte, transport.Headroom)...)
			room = append(append(room, contents...), make([]byte, transport.Tailroom)...)
			if err := e.conn.WriteInPlace(room); err != nil {
				return err
			}
		}
		if err := e.conn.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (e *v2End) receive(n int) error {
	for range n {
		if _, err := e.conn.ReadPacket(); err != nil {
			return err
		}
	}
	return nil
}

func (e *v2End) next() ([]byte, error) {
	contents, err := e.conn.ReadPacket()
	if err != nil {
		return nil, err
	}
	_, payload, ok := v1v2.Decode(contents)
	if !ok {
		return nil, errors.New("a packet without a message")
	}
	return payload, nil
}

// node is a listener that has exchanged VERSIONs with its peers.
type node struct {
	addr string
	ends chan end
}

func listenV1() (*node, error) {
	return listen("127.0.0.1", func(conn net.Conn) (end, error) {
		e := newV1End(conn, 256<<10)
		if err := e.receive(1); err != nil {
			return nil, err
		}
		return e, e.send(traffic{version}, 1)
	})
}

func listenV2(host string) (*node, error) {
	first := traffic{version}.contents()
	return listen(host, func(conn net.Conn) (end, error) {
		c, err := transport.Server(context.Background(), conn, transport.Config{Magic: magic, First: first})
		if err != nil {
			return nil, err
		}
		e := &v2End{c}
		return e, e.receive(1)
	})
}

func listenRaw() (*node, error) {
	return listen("127.0.0.1", func(conn net.Conn) (end, error) { return newV1End(conn, 256<<10), nil })
}

func listen(host string, greet func(net.Conn) (end, error)) (*node, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	n := &node{addr: l.Addr().String(), ends: make(chan end, 20_000)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				conn.SetDeadline(time.Now().Add(patience))
				e, err := greet(conn)
				if err != nil {
					conn.Close() // tells the client
					return
				}
				conn.SetDeadline(time.Time{})
				n.ends <- e
			}()
		}
	}()
	return n, nil
}

// dial opens a bare connection.
func (p path) dial() (net.Conn, error) {
	if p.via == nil {
		return net.Dial("tcp", p.to.addr)
	}
	d, err := socksclient.SOCKS5("tcp", p.via.addr, nil, nil)
	if err != nil {
		return nil, err
	}
	return d.Dial("tcp", p.to.addr)
}

// greet opens a connection and exchanges VERSIONs.
func (p path) greet(buffer int) (*v1End, error) {
	conn, err := p.dial()
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	e := newV1End(conn, buffer)
	if err := e.send(traffic{version}, 1); err != nil {
		return nil, err
	}
	if err := e.receive(1); err != nil {
		return nil, fmt.Errorf("reading the node's VERSION: %w", err)
	}
	conn.SetDeadline(time.Time{})
	return e, nil
}

// open opens a session and returns both ends. Sessions must be opened one at a time.
func (p path) open() (client *v1End, peer end, err error) {
	client, err = p.greet(256 << 10)
	if err != nil {
		return nil, nil, err
	}
	return client, <-p.to.ends, nil
}
