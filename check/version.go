package check

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"bip324proxy/internal/stream"
	"bip324proxy/v1v2"
)

const (
	goodbyeTimeout      = time.Second
	maxMessagesToAnswer = 20 // before VERSION
)

var versionType = v1v2.TypeOf("version")

// ourVersion returns the payload of the VERSION that is sent; see PeerReport.
func ourVersion() []byte {
	var nonce [8]byte
	rand.Read(nonce[:])
	return v1v2.AppendVersion(nil, v1v2.Version{Protocol: 70016, UserAgent: "/pynode:0.0.1/"}, binary.LittleEndian.Uint64(nonce[:]))
}

// introduce sends our VERSION in v1, and returns the one that answers it.
func introduce(nc net.Conn, magic [4]byte, messages int) (v1v2.Version, error) {
	if _, err := nc.Write(v1v2.AppendMessage(nil, magic, versionType, ourVersion())); err != nil {
		return v1v2.Version{}, err
	}
	return awaitVersion(nc, magic, messages)
}

var errNoVersion = errors.New("what it sent was not VERSION")

// awaitVersion reads the peer's VERSION, which answers ours, from the first messages on nc.
func awaitVersion(nc net.Conn, magic [4]byte, messages int) (v1v2.Version, error) {
	in := v1v2.NewReader(nc, magic)
	defer in.Release()
	for range messages {
		m, ok, err := in.Next()
		if err != nil {
			return v1v2.Version{}, err
		}
		if ok && m.Type == versionType {
			if v, whole := v1v2.ParseVersion(m.Payload()); whole {
				return v, nil
			}
			break
		}
	}
	return v1v2.Version{}, errNoVersion
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
