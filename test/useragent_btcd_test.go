package test

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/v1v2"
)

// What btcd writes as its user agent is what is shown.
func TestUserAgentOfBtcd(t *testing.T) {
	addr := wire.NewNetAddressIPPort(net.IPv4(192, 0, 2, 1), 8333, 0)
	for _, n := range []int{0, 1, 100, 252, 253, 254, 256} {
		m := wire.NewMsgVersion(addr, addr, 1<<60, 800_000)
		m.UserAgent = strings.Repeat("/btcd:1/", 40)[:n]
		var payload bytes.Buffer
		if err := m.BtcEncode(&payload, wire.ProtocolVersion, wire.WitnessEncoding); err != nil {
			t.Fatal(err)
		}
		if got := v1v2.UserAgent(payload.Bytes()); got != m.UserAgent {
			t.Errorf("%d bytes: %q, want %q", n, got, m.UserAgent)
		}
	}
}
