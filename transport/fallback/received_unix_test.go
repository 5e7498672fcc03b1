//go:build unix

package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
)

// What a peer known to speak v1 has sent counts even if nobody has read it: before Upgrade, or while
// it asks whether the network encrypts.
func TestReceivedUnread(t *testing.T) {
	for _, c := range []struct {
		name  string
		said  []byte
		later bool // said when Upgrade asks for the network
		known Speaks
		cause error // the cause of v1; nil if v1 must not follow
	}{
		{"a byte, v1 known", []byte{1}, false, SpeaksV1, nil},
		{"a byte, v2 refused", []byte{1}, false, RefusedV2, nil},
		{"a byte, v1 known, later", []byte{1}, true, SpeaksV1, nil},
		{"VERSION header", versionHeader, false, SpeaksV1, transport.ErrV1Peer},
		{"VERSION header, later", versionHeader, true, SpeaksV1, transport.ErrV1Peer},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := testkit.TCPPair(t)
			say := func() {
				far.Write(c.said)
				far.(*net.TCPConn).CloseWrite()
				for b := make([]byte, 100); stream.Arrived(near, b) < len(c.said); {
					time.Sleep(time.Millisecond)
				}
			}
			d := Dialer{
				Mode:  Overlay,
				Peers: new(Peers),
				Dial: func(context.Context, string, string) (net.Conn, error) {
					t.Error("dialled again")
					return nil, io.EOF
				},
				Overlay: func(context.Context, string, net.Addr) error {
					if c.later {
						say()
					}
					return nil
				},
			}
			if !c.later {
				say()
			}
			d.Peers.Note(somePeer, c.known)
			link, err := d.Upgrade(t.Context(), near, somePeer, transport.Config{Magic: mainnet})
			if c.cause != nil {
				if link.V1 != near || link.Cause != c.cause || err != nil {
					t.Fatalf("got %+v, %v", link, err)
				}
				if b, err := io.ReadAll(near); string(b) != string(c.said) || err != nil {
					t.Errorf("read %x, %v", b, err)
				}
				return
			}
			var failed *transport.HandshakeError
			if !errors.As(err, &failed) || failed.Received != len(c.said) {
				t.Errorf("got %+v, %v", link, err)
			}
		})
	}
}
