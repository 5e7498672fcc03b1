package test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"

	"github.com/btcsuite/btcd/v2transport"
	"github.com/btcsuite/btcd/wire/v2"
)

// Each way to get a Conn, with btcd's transport at the other end. The initiator sends a VERSION, the responder a VERACK;
// btcd's code speaks v1 to the Conn, too.
func TestConnHandshakesWithBtcd(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name       string
		weInitiate bool
		open       func(ctx context.Context, l net.Listener, cfg transport.Config) (net.Conn, error)
	}{
		{"DialContext", true, func(ctx context.Context, l net.Listener, cfg transport.Config) (net.Conn, error) {
			cfg.Magic = [4]byte{} // the VERSION has it
			return (&fallback.Dialer{Config: cfg}).DialContext(ctx, "tcp", l.Addr().String())
		}},
		{"Client", true, func(ctx context.Context, l net.Listener, cfg transport.Config) (net.Conn, error) {
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return nil, err
			}
			return v1v2.Client(ctx, nc, cfg)
		}},
		{"Server", false, func(ctx context.Context, l net.Listener, cfg transport.Config) (net.Conn, error) {
			nc, err := l.Accept()
			if err != nil {
				return nil, err
			}
			return v1v2.Server(ctx, nc, cfg)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			n := handshakes()
			each(n, 4, func(i int) {
				cfg := variant(i, n, mainnetMagic)
				cfg.Garbage = cfg.Garbage[:min(len(cfg.Garbage), transport.MaxGarbage-1)] // btcd refuses more
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err == nil {
					defer l.Close()
					err = converse(l, way.weInitiate, i*transport.MaxGarbage/(n-1), make([]int, i%3),
						func(ctx context.Context) (net.Conn, error) { return way.open(ctx, l, cfg) })
				}
				if err != nil {
					t.Errorf("handshake %d: %v", i, err)
				}
			})
			t.Logf("%d handshakes", n)
		})
	}
}

// The same with one Listener for all handshakes.
func TestListenerHandshakesWithBtcd(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &v1v2.Listener{Listener: tcp, Config: transport.Config{
		Magic:   mainnetMagic,
		Garbage: make([]byte, 1000), // at random it could be one byte more than btcd accepts
	}}
	defer l.Close()
	n := handshakes()
	each(n, 4, func(i int) { // Accept may return the connection of another i, which makes no difference
		if err := converse(l, false, i*transport.MaxGarbage/(n-1), make([]int, i%3),
			func(context.Context) (net.Conn, error) { return l.Accept() }); err != nil {
			t.Errorf("handshake %d: %v", i, err)
		}
	})
	t.Logf("%d handshakes", n)
}

// converse opens a connection between a Conn, which open returns, and btcd's transport, and exchanges a VERSION and a
// VERACK. The responder is reached at l.
func converse(l net.Listener, weInitiate bool, garbage int, decoys []int, open func(context.Context) (net.Conn, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var theirs net.Conn
		var err error
		if weInitiate {
			theirs, err = l.Accept()
		} else {
			theirs, err = net.Dial("tcp", l.Addr().String())
		}
		if err == nil {
			err = btcdEnd(theirs, !weInitiate, garbage, decoys)
		}
		done <- err
	}()
	ours, err := open(ctx)
	if err == nil {
		defer ours.Close()
		ours.SetDeadline(time.Now().Add(patience))
		err = sayVersion(weInitiate, func(m wire.Message) error {
			return wire.WriteMessage(ours, m, wire.ProtocolVersion, wire.MainNet)
		}, func() (wire.Message, error) {
			m, _, err := wire.ReadMessage(ours, wire.ProtocolVersion, wire.MainNet)
			return m, err
		})
	}
	if err != nil && weInitiate {
		l.Close() // nothing will come
	}
	if theirs := <-done; err != nil || theirs != nil {
		return fmt.Errorf("ours: %w, btcd: %w", err, theirs)
	}
	return nil
}

// btcdEnd is the end of a connection with btcd's transport. It closes nc.
func btcdEnd(nc net.Conn, initiates bool, garbage int, decoys []int) error {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	p := v2transport.NewPeer()
	p.UseReadWriter(nc)
	var err error
	if initiates {
		err = p.InitiateV2Handshake(garbage)
	} else {
		err = p.RespondV2Handshake(garbage, mainnetBtcd)
	}
	if err == nil {
		err = p.CompleteHandshake(initiates, decoys, mainnetBtcd)
	}
	if err != nil {
		return err
	}
	return sayVersion(initiates, func(m wire.Message) error {
		var contents bytes.Buffer
		if _, err := wire.WriteV2MessageN(&contents, m, wire.ProtocolVersion, wire.LatestEncoding); err != nil {
			return err
		}
		_, _, err := p.V2EncPacket(contents.Bytes(), nil, false)
		return err
	}, func() (wire.Message, error) {
		contents, err := p.V2ReceivePacket(nil)
		if err != nil {
			return nil, err
		}
		m, _, err := wire.ReadV2MessageN(contents, wire.ProtocolVersion, wire.LatestEncoding)
		return m, err
	})
}

// sayVersion sends a VERSION and receives a VERACK, or the other way around.
func sayVersion(initiates bool, send func(wire.Message) error, receive func() (wire.Message, error)) error {
	const nonce = 324
	if initiates {
		if err := send(wire.NewMsgVersion(noAddr, noAddr, nonce, 0)); err != nil {
			return err
		}
		if m, err := receive(); err != nil {
			return err
		} else if _, ok := m.(*wire.MsgVerAck); !ok {
			return fmt.Errorf("got %T, want a VERACK", m)
		}
		return nil
	}
	m, err := receive()
	if err != nil {
		return err
	}
	if version, ok := m.(*wire.MsgVersion); !ok || version.Nonce != nonce {
		return fmt.Errorf("got %+v, want the VERSION", m)
	}
	return send(wire.NewMsgVerAck())
}
