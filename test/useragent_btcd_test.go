package test

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"

	"bip324proxy/v1v2"
)

// User agents that btcd encodes are displayed correctly.
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

// VERSION messages that btcd encodes are decoded correctly, and btcd decodes ours.
func TestVersionOfBtcd(t *testing.T) {
	addr := wire.NewNetAddressIPPort(net.IPv4(192, 0, 2, 1), 8333, 0)
	theirs := wire.NewMsgVersion(addr, addr, 1<<60, 800_000)
	theirs.Services = wire.SFNodeNetwork | wire.SFNodeWitness | wire.SFNodeP2PV2
	theirs.UserAgent = "/btcd:0.25.0/"
	var payload bytes.Buffer
	if err := theirs.BtcEncode(&payload, wire.ProtocolVersion, wire.WitnessEncoding); err != nil {
		t.Fatal(err)
	}
	want := v1v2.Version{Protocol: int32(wire.ProtocolVersion), Services: uint64(theirs.Services), UserAgent: theirs.UserAgent, Height: 800_000}
	for n := range payload.Len() {
		v, ok := v1v2.ParseVersion(payload.Bytes()[:n])
		if ok != (n >= 46) || ok && (v.Protocol != want.Protocol || v.Services != want.Services) {
			t.Errorf("%d bytes: %+v, %v", n, v, ok)
		}
	}
	if got, ok := v1v2.ParseVersion(payload.Bytes()); got != want || !ok {
		t.Errorf("%+v, want %+v", got, want)
	}

	var ours wire.MsgVersion
	if err := ours.BtcDecode(bytes.NewBuffer(v1v2.AppendVersion(nil, want, 12345)), wire.ProtocolVersion, wire.WitnessEncoding); err != nil {
		t.Fatal(err)
	}
	if ours.ProtocolVersion != want.Protocol || ours.Services != theirs.Services || ours.UserAgent != want.UserAgent ||
		ours.LastBlock != want.Height || ours.Nonce != 12345 || !ours.DisableRelayTx || ours.Timestamp.Unix() != 0 {
		t.Errorf("btcd decodes %+v", ours)
	}
}
