package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"bip324proxy/transport"
)

// A peer that sends its key, and then nothing that ends its garbage, may be on another network. Only
// then does the error say so.
func TestDialContextOtherNetwork(t *testing.T) {
	for other, peer := range map[bool]pipePeer{
		true: func(nc net.Conn) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			transport.Server(ctx, nc, transport.Config{Magic: [4]byte{1, 2, 3, 4}, Garbage: []byte{}})
		},
		false: hangsUpAfter(0),
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &Dialer{Dial: (&pipes{peers: []pipePeer{peer}}).dial, Config: transport.Config{Magic: mainnet, Garbage: []byte{}}}
			_, err := d.DialContext(t.Context(), "tcp", addrA)
			var e *transport.HandshakeError
			if !errors.As(err, &e) || (e.Stage == transport.StageGarbage) != other ||
				strings.HasSuffix(err.Error(), "; the peer may be on another network") != other {
				t.Errorf("another network: %v, got %v", other, err)
			}
		})
	}
}

// The program is told of v1 before it is sent, and why.
func TestOnV1BeforePlaintext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := make(chan struct{})
		wire := &pipes{peers: []pipePeer{func(nc net.Conn) {
			nc.Read(make([]byte, 1))
			close(sent)
			io.Copy(io.Discard, nc)
		}}}
		d := &Dialer{Mode: Always, Peers: new(Peers), Dial: wire.dial, Direct: true, OnV1: func(addr string, link Link) {
			synctest.Wait()
			select {
			case <-sent:
				t.Error("v1 was sent before")
			default:
			}
			if addr != addrA || link.Cause != ErrKnownV1 {
				t.Errorf("told of %s, %v", addr, link.Cause)
			}
		}}
		d.Peers.Note(addrA, SpeaksV1)
		conn, err := d.DialContext(t.Context(), "tcp", addrA)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(ourVersion); err != nil {
			t.Error(err)
		}
		<-sent
	})
}

// An error of a peer that is known to speak v2 says why v1 did not follow.
func TestProvenV2ErrorSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Dialer{Mode: Always, Peers: new(Peers), Dial: (&pipes{peers: []pipePeer{hangsUpAfter(0)}}).dial, Config: transport.Config{Magic: mainnet, Garbage: []byte{}}}
		d.Peers.Note(addrA, SpeaksV2)
		_, err := d.DialContext(t.Context(), "tcp", addrA)
		if !isA[*ProvenV2Error](err) || !strings.HasSuffix(err.Error(), "; v1 is not spoken to a peer that is known to speak v2") {
			t.Errorf("got %v", err)
		}
	})
}
