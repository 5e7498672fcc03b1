package fallback

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"bip324proxy/transport"
)

// versionHeader is the header of a v1 VERSION.
var versionHeader = append(mainnet[:len(mainnet):len(mainnet)], "version\x00\x00\x00\x00\x00\x70\x00\x00\x00\x01\x02\x03\x04"...)

// Bytes that a peer sent before the handshake count like those within it.
func TestReceivedBefore(t *testing.T) {
	other := append([]byte{0x0a, 0x03, 0xcf, 0x40}, versionHeader[4:]...)
	for _, c := range []struct {
		name     string
		received []byte
		known    Speaks
		cause    error // the cause of v1; nil if v1 must not follow
	}{
		{"nothing, v1 known", nil, SpeaksV1, ErrKnownV1},
		{"a byte", []byte{1}, SpeaksUnknown, nil},
		{"a byte, v1 known", []byte{1}, SpeaksV1, nil},
		{"a byte, v2 refused", []byte{1}, RefusedV2, nil},
		{"part of a VERSION header", versionHeader[:23], SpeaksUnknown, nil},
		{"VERSION header", versionHeader, SpeaksUnknown, transport.ErrV1Peer},
		{"VERSION header and more", slices.Concat(versionHeader, []byte{1, 2, 3}), SpeaksV1, transport.ErrV1Peer},
		{"VERSION header, v2 known", versionHeader, SpeaksV2, nil},
		{"another network's VERSION header", other, SpeaksV1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := &endsWith{takes: 1 << 20, err: io.EOF}
			d := Dialer{
				Mode:  Always,
				Peers: new(Peers),
				Dial: func(context.Context, string, string) (net.Conn, error) {
					t.Error("dialled again")
					return nil, io.EOF
				},
			}
			d.Peers.Note(somePeer, c.known)
			link, err := d.Upgrade(t.Context(), first, somePeer, transport.Config{Magic: mainnet, Received: c.received})
			if c.cause != nil {
				if link.V1 != net.Conn(first) || link.Cause != c.cause || err != nil {
					t.Errorf("got %+v, %v", link, err)
				}
				return
			}
			var failed *transport.HandshakeError
			if !errors.As(err, &failed) || failed.Received != len(c.received) && !errors.Is(failed, transport.ErrV1OtherNetwork) {
				t.Errorf("got %+v, %v", link, err)
			}
		})
	}
}
