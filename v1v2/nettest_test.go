package v1v2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/nettest"

	"bip324proxy/transport"
)

// framed carries any bytes in v1 messages over a connection, since x/net's nettest writes what it
// likes: each Write in one message, which net.Pipe's users rely on. It neither waits nor times out
// but in the connection.
type framed struct {
	net.Conn

	out  sync.Mutex
	rng  *mrand.Rand
	name string // of the next message
	rest []byte // of messages that were taken in part

	in   sync.Mutex
	got  []byte // of the message that is being read
	data []byte // of the last one
}

func newFramed(c net.Conn, seed uint64) *framed {
	return &framed{Conn: c, rng: mrand.New(mrand.NewPCG(seed, 1)), name: "tx"}
}

func (f *framed) Write(p []byte) (n int, err error) {
	f.out.Lock()
	defer f.out.Unlock()
	if err := f.flush(); err != nil {
		return 0, err
	}
	whole := f.message(p)
	f.rest = whole
	if err = f.flush(); len(f.rest) == len(whole) { // nothing was taken
		f.rest = nil
		return 0, err
	}
	return len(p), err
}

// message returns b in a v1 message, perhaps a large one, or with an empty one before it.
func (f *framed) message(b []byte) (raw []byte) {
	size := 4 + len(b)
	switch f.rng.IntN(20) {
	case 0:
		size += f.rng.IntN(50_000)
	case 1:
		size += 16<<10 - f.rng.IntN(64)
	case 2:
		if f.name == "tx" {
			raw = v1Bytes(mainnet, "verack", nil)
		}
	}
	payload := make([]byte, size)
	binary.LittleEndian.PutUint32(payload, uint32(len(b)))
	copy(payload[4:], b)
	raw = append(raw, v1Bytes(mainnet, f.name, payload)...)
	f.name = "tx"
	return raw
}

// flush writes rest, now and then the header alone or in random pieces.
func (f *framed) flush() error {
	for len(f.rest) > 0 {
		k := len(f.rest)
		switch f.rng.IntN(4) {
		case 0:
			k = min(k, HeaderSize)
		case 1:
			k = 1 + f.rng.IntN(k)
		}
		n, err := f.Conn.Write(f.rest[:k])
		if f.rest = f.rest[n:]; err != nil {
			return err
		}
		if n < k {
			return io.ErrShortWrite
		}
	}
	return nil
}

func (f *framed) Read(p []byte) (n int, err error) {
	f.in.Lock()
	defer f.in.Unlock()
	for len(f.data) == 0 {
		if err := f.receive(); err != nil {
			return 0, err
		}
	}
	n = copy(p, f.data)
	f.data = f.data[n:]
	return n, nil
}

// receive reads a message.
func (f *framed) receive() error {
	need := HeaderSize
	for {
		if len(f.got) >= HeaderSize {
			need = HeaderSize + int(binary.LittleEndian.Uint32(f.got[16:]))
		}
		if len(f.got) == need {
			break
		}
		b := make([]byte, need-len(f.got))
		n, err := f.Conn.Read(b)
		f.got = append(f.got, b[:n]...)
		if err == io.EOF && len(f.got) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	all, end := parse(f.got)
	if f.got = nil; end != "end" || len(all) != 1 || !all[0].ok {
		return fmt.Errorf("read an invalid message: %s", end)
	}
	if payload := all[0].raw[HeaderSize:]; len(payload) > 0 {
		f.data = payload[4:][:binary.LittleEndian.Uint32(payload)]
	}
	return nil
}

// A Conn is a net.Conn by the rules of x/net, in v2 and v1, decided from the start or later.
func TestNettest(t *testing.T) {
	for name, sockets := range socketPairs {
		t.Run(name, func(t *testing.T) {
			for name, pair := range map[string]func(t testing.TB) (c1, c2 *framed, err error){
				"v2": func(t testing.TB) (c1, c2 *framed, err error) {
					client, server := connPair(t, sockets)
					return newFramed(client, 1), newFramed(server, 2), nil
				},
				"v1": func(t testing.TB) (c1, c2 *framed, err error) {
					a, b := sockets(t)
					return newFramed(newPlainConn(a, mainnet), 1), newFramed(newPlainConn(b, mainnet), 2), nil
				},
				"decided later": func(t testing.TB) (c1, c2 *framed, err error) {
					a, b := sockets(t)
					client, server := Later(a, speakV2(a)), Later(b, answerV2(b))
					c1, c2 = newFramed(client, 1), newFramed(server, 2)
					failed := make(chan error)
					go func() { failed <- server.Handshake(context.Background(), mainnet) }()
					_, err = client.Write(v1Bytes(mainnet, "version", make([]byte, 4)))
					return c1, c2, errors.Join(err, <-failed)
				},
				"during the handshake": func(t testing.TB) (c1, c2 *framed, err error) {
					a, b := sockets(t)
					begun := make(chan bool)
					note := func(decide Decide) Decide {
						return func(ctx context.Context, magic [4]byte, first []byte) (*transport.Conn, net.Conn, error) {
							begun <- true
							return decide(ctx, magic, first)
						}
					}
					client, server := Later(a, note(speakV2(a))), Later(b, note(answerV2(b)))
					go client.Handshake(context.Background(), mainnet)
					go server.Handshake(context.Background(), mainnet)
					<-begun
					<-begun
					return newFramed(client, 1), newFramed(server, 2), nil
				},
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
						f1, f2, err := pair(t)
						return f1, f2, func() {
							f1.Close()
							f2.Close()
						}, err
					})
				})
			}
		})
	}
}
