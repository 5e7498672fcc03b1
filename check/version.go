package check

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

const (
	goodbyeTimeout     = time.Second
	maxPacketsToAnswer = 20 // before VERSION
)

var versionType = v1v2.TypeOf("version")

// ourVersion returns the payload of the VERSION that is sent; see PeerReport.
func ourVersion() []byte {
	var nonce [8]byte
	rand.Read(nonce[:])
	return v1v2.AppendVersion(nil, v1v2.Version{Protocol: 70016, UserAgent: "/pynode:0.0.1/"}, binary.LittleEndian.Uint64(nonce[:]))
}

var errNoVersion = errors.New("what it sent was not VERSION")

// awaitVersion reads the peer's VERSION, which answers ours.
func awaitVersion(ctx context.Context, c *transport.Conn) (v1v2.Version, error) {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	for range maxPacketsToAnswer {
		contents, err := c.ReadPacket()
		if err != nil {
			return v1v2.Version{}, err
		}
		if t, payload, ok := v1v2.Decode(contents); ok && t == versionType {
			if v, ok := v1v2.ParseVersion(payload); ok {
				return v, nil
			}
			break
		}
	}
	return v1v2.Version{}, errNoVersion
}

func awaitV1(nc net.Conn, magic [4]byte) (v1v2.Version, error) {
	messages := v1v2.NewReader(stream.NewReader(nc), magic)
	defer messages.Release()
	m, ok, err := messages.Next()
	if err != nil {
		return v1v2.Version{}, err
	}
	v, whole := v1v2.ParseVersion(bytes.Clone(m.Payload()))
	if !ok || !whole || m.Type != versionType {
		return v1v2.Version{}, errNoVersion
	}
	return v, nil
}

// goodbye ends the stream and lets the peer end its own: to close while it still
// talks would reset the connection.
func goodbye(nc net.Conn) {
	stream.NewSocket(nc).CloseWrite()
	nc.SetReadDeadline(time.Now().Add(goodbyeTimeout))
	io.Copy(io.Discard, nc)
}

// serviceBits are the service bits that have a name (Bitcoin Core, ServiceFlags).
var serviceBits = map[int]string{0: "NETWORK", 2: "BLOOM", 3: "WITNESS", 6: "COMPACT_FILTERS", 10: "NETWORK_LIMITED", 11: "P2P_V2"}

// serviceNames returns the names of the bits that are set, as in Bitcoin Core's getpeerinfo.
func serviceNames(bits uint64) (names []string) {
	for bit := range 64 {
		if bits&(1<<bit) != 0 {
			names = append(names, cmp.Or(serviceBits[bit], fmt.Sprintf("UNKNOWN[2^%d]", bit)))
		}
	}
	return names
}

// note records the peer's VERSION, and returns it in words.
func (p *prober) note(v v1v2.Version) string {
	peer := p.report.Peer
	peer.UserAgent, peer.Protocol, peer.Height = v.UserAgent, v.Protocol, v.Height
	peer.Services, peer.Offers = fmt.Sprintf("%016x", v.Services), serviceNames(v.Services)
	return fmt.Sprintf("%s, protocol %d, at block %d, offers %s", cmp.Or(v.UserAgent, "no user agent"),
		v.Protocol, v.Height, cmp.Or(strings.Join(peer.Offers, " "), "no services"))
}
