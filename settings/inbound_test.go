package settings

import (
	"net"
	"strings"
	"testing"

	"bip324proxy/inbound"
	"bip324proxy/transport"
	"bip324proxy/transport/fallback"
)

// load returns the settings of a command line, whose lists are split at commas.
func load(flags ...string) (*Settings, error) {
	said := make(map[string]given)
	for i := 0; i < len(flags); i += 2 {
		t := lookUp(strings.TrimPrefix(flags[i], "--"))
		said[t.name] = given{append(said[t.name].texts, t.split([]string{flags[i+1]})...), fromFlag}
	}
	return combine([]map[string]given{said})
}

func TestInbound(t *testing.T) {
	for _, c := range []*struct {
		flags         []string
		listen, named string
		node          inbound.Node
		network       transport.Network
	}{
		{[]string{"--inbound", "0.0.0.0:8333=127.0.0.1:8335"}, "0.0.0.0:8333", "", inbound.Node{Network: "tcp", Address: "127.0.0.1:8335"}, transport.Mainnet},
		{[]string{"--inbound", "[::]:18444=[::1]:18445", "--inbound-source", "none"}, "[::]:18444", "", inbound.Node{Network: "tcp", Address: "[::1]:18445"}, transport.Regtest},
		{[]string{"--inbound", "0.0.0.0:38333=bitcoind:38334", "--inbound-source", "none"}, "0.0.0.0:38333", "", inbound.Node{Network: "tcp", Address: "bitcoind:38334"}, transport.Signet},
		{[]string{"--inbound", "127.0.0.1:8336=unix:/run/node", "--inbound-network", "mainnet", "--inbound-source", "none"}, "127.0.0.1:8336", "", inbound.Node{Network: "unix", Address: "/run/node"}, transport.Mainnet},
		{[]string{"--inbound", "unix:/run/peers?mode=0666=127.0.0.1:8335", "--inbound-network", "f9beb4d9"}, "unix:/run/peers?mode=0666", "", inbound.Node{Network: "tcp", Address: "127.0.0.1:8335"}, transport.Mainnet},
		{[]string{"--inbound", "127.0.0.1:0=127.0.0.1:8335", "--inbound-network", "simnet"}, "127.0.0.1:0", "", inbound.Node{Network: "tcp", Address: "127.0.0.1:8335"}, transport.Simnet},
		{[]string{"--inbound", "0.0.0.0:18333=127.0.0.1:8335", "--inbound-network", "testnet4"}, "0.0.0.0:18333", "", inbound.Node{Network: "tcp", Address: "127.0.0.1:8335"}, transport.Testnet4},
		{[]string{"--inbound", "systemd:inbound=127.0.0.1:8335"}, "systemd:inbound", "inbound", inbound.Node{Network: "tcp", Address: "127.0.0.1:8335"}, transport.Network{}},
		{[]string{"--inbound", "systemd:peers=127.0.0.1:8335", "--inbound-network", "signet"}, "systemd:peers", "peers", inbound.Node{Network: "tcp", Address: "127.0.0.1:8335"}, transport.Signet},
	} {
		flags := append([]string{"--inbound-source", "none"}, c.flags...)
		s, err := load(flags...)
		if err != nil || len(s.Inbound) != 1 {
			t.Errorf("%q: got %v", flags, err)
			continue
		}
		l := s.Inbound[0]
		if l.Listen != c.listen || l.Activated != c.named || l.Node.Network != c.node.Network || l.Node.Address != c.node.Address || l.Magic != c.network.Magic {
			t.Errorf("%q: got %+v, node %v, network %s", flags, l, l.Node, transport.NetworkName(l.Magic))
		}
		if s.Policy.InboundV1 != fallback.Never || len(s.Policy.Announce) > 0 {
			t.Errorf("%q: got v1 %v, announced %v", flags, s.Policy.InboundV1, s.Policy.Announce)
		}
	}
	s, err := load("--inbound-source", "none", "--inbound", "0.0.0.0:8333=127.0.0.1:8335,0.0.0.0:18444=127.0.0.1:18445", "--inbound-v1", "overlay", "--announce-v2", "203.0.113.7:8333,[2001:db8::7]:8333")
	if err != nil || len(s.Inbound) != 2 || s.Inbound[0].Magic != transport.Mainnet.Magic || s.Inbound[1].Magic != transport.Regtest.Magic ||
		s.Policy.InboundV1 != fallback.Overlay || len(s.Policy.Announce) != 2 {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := load("--announce-v2", "", "--inbound-v1", "never", "--inbound-source", "auto", "--inbound-sessions", "125"); err == nil {
		t.Error("an empty address was announced")
	}
	if _, err := load("--inbound-v1", "never", "--inbound-source", "auto", "--inbound-sessions", "125", "--inbound-network", ""); err != nil {
		t.Errorf("the defaults need no --inbound, but got %v", err)
	}
}

// Each error names the setting at fault and what to write.
func TestWrongInbound(t *testing.T) {
	const valid = "0.0.0.0:8333=127.0.0.1:8335"
	for _, c := range []struct {
		flags []string
		says  string
	}{
		{[]string{"--inbound", "0.0.0.0:8333"}, `--inbound: "0.0.0.0:8333" is invalid; must be ADDRESS=NODE, such as 0.0.0.0:8333=127.0.0.1:8335`},
		{[]string{"--inbound", ""}, `--inbound: "" is invalid; must be ADDRESS=NODE`},
		{[]string{"--inbound", ":8333=127.0.0.1:8335"}, `--inbound: ":8333" has no host; write HOST:PORT, with 127.0.0.1 or [::1] for programs on this machine only, or 0.0.0.0 or [::] for all`},
		{[]string{"--inbound", "0.0.0.0:8333="}, `--inbound: the node "" is invalid; write IP:PORT, NAME:PORT or unix:/PATH, such as 127.0.0.1:8335`},
		{[]string{"--inbound", "0.0.0.0:8333=127.0.0.1"}, `--inbound: the node "127.0.0.1" is invalid; write`},
		{[]string{"--inbound", "0.0.0.0:8333=127.0.0.1:0"}, `--inbound: the node "127.0.0.1:0" is invalid; write`},
		{[]string{"--inbound", "0.0.0.0:8333=0.0.0.0:8335"}, `--inbound: the node 0.0.0.0:8335 is not an address to connect to; write the one that the node listens on, such as 127.0.0.1:8335`},
		{[]string{"--inbound", "0.0.0.0:8333=[::]:8335"}, `is not an address to connect to`},
		{[]string{"--inbound", "0.0.0.0:8333=8.8.8.8:8333"}, `--inbound: 8.8.8.8 is a public address`},
		{[]string{"--inbound", "0.0.0.0:8333=[2600::1]:8333"}, `--inbound: 2600::1 is a public address`},
		{[]string{"--inbound", "0.0.0.0:8333=unix:"}, `--inbound: the node "unix:" is invalid; must be unix:/PATH, without options`},
		{[]string{"--inbound", "0.0.0.0:8333=unix:/s?group"}, `without options`},
		{[]string{"--inbound", "systemd:=127.0.0.1:8335"}, `--inbound: "systemd:" is invalid; must be systemd:NAME, where the .socket unit has FileDescriptorName=NAME`},
		{[]string{"--inbound", "systemd:a:b=127.0.0.1:8335"}, `"systemd:a:b" is invalid; must be systemd:NAME`},
		{[]string{"--inbound", "0.0.0.0:24333=127.0.0.1:8335"}, `--inbound-network: required, because 0.0.0.0:24333 does not have the default port of a network; must be mainnet, `},
		{[]string{"--inbound", "127.0.0.1:0=127.0.0.1:8335"}, `--inbound-network: required`},
		{[]string{"--inbound", "unix:/s=127.0.0.1:8335"}, `--inbound-network: required`},
		{[]string{"--inbound", valid, "--inbound-network", "main"}, `--inbound-network: "main" is invalid; must be mainnet, `},
		{[]string{"--inbound", "systemd:inbound=127.0.0.1:8335", "--inbound-network", "main"}, `--inbound-network: "main" is invalid`},
		{[]string{"--inbound", valid, "--inbound-v1", "yes"}, `--inbound-v1: "yes" is invalid; must be never, overlay or always`},
		{[]string{"--inbound", valid, "--inbound-sessions", "0"}, `--inbound-sessions: 0 is invalid; must be from 1 to 1000000`},
		{[]string{"--inbound", valid, "--inbound-sessions", "1000001"}, `--inbound-sessions: 1000001 is invalid`},
		{[]string{"--inbound", valid, "--announce-v2", "node.example:8333"}, `--announce-v2: "node.example:8333" is invalid`},
		{[]string{"--inbound", valid + ",127.0.0.1:8333=127.0.0.1:8336"}, `--inbound: 0.0.0.0:8333 and 127.0.0.1:8333 overlap; each --inbound needs its own address, and [::] includes 0.0.0.0`},
		{[]string{"--inbound", valid + "," + valid}, `0.0.0.0:8333 and 0.0.0.0:8333 overlap`},
		{[]string{"--inbound", "systemd:a=127.0.0.1:1,systemd:a=127.0.0.1:2"}, `systemd:a and systemd:a overlap`},
		{[]string{"--inbound", valid, "--listen", "127.0.0.1:8333"}, `--inbound: 0.0.0.0:8333 overlaps 127.0.0.1:8333 of --listen; peers need their own address`},
		{[]string{"--inbound", "[::]:8333=127.0.0.1:8335", "--listen", "127.0.0.1:8333"}, `overlaps 127.0.0.1:8333 of --listen`},
		{[]string{"--inbound", valid, "--peer", "127.0.0.1:8333=192.0.2.7:8333"}, `overlaps 127.0.0.1:8333 of --peer`},
		{[]string{"--inbound", valid, "--status", "127.0.0.1:8333"}, `overlaps 127.0.0.1:8333 of --status`},
		{[]string{"--inbound", "unix:/s?mode=0666=127.0.0.1:8335", "--inbound-network", "mainnet", "--listen", "unix:/s"}, `unix:/s?mode=0666 overlaps unix:/s of --listen`},
		{[]string{"--inbound", "127.0.0.1:8333=127.0.0.1:8335", "--upstream", "socks5://127.0.0.1:8333"}, `--upstream: 127.0.0.1:8333 is this proxy's own address`},
		{[]string{"--inbound-network", "regtest"}, `--inbound-network: has no effect without --inbound; add --inbound ADDRESS=NODE`},
		{[]string{"--inbound-v1", "always"}, `--inbound-v1: has no effect without --inbound`},
		{[]string{"--inbound-source", "10.9.0.0/16"}, `--inbound-source: has no effect without --inbound`},
		{[]string{"--inbound-sessions", "8"}, `--inbound-sessions: has no effect without --inbound`},
		{[]string{"--announce-v2", "203.0.113.7:8333"}, `--announce-v2: has no effect without --inbound`},
	} {
		flags := c.flags
		if len(flags) > 0 && flags[0] == "--inbound" {
			flags = append([]string{"--inbound-source", "none"}, flags...) // where auto is an error, too
		}
		if _, err := load(flags...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got %v, want %q", c.flags, err, c.says)
		}
	}
}

// Any peer may connect to an inbound listener, so it needs neither a password nor a mode, and its
// sessions have descriptors of their own.
func TestInboundListenerIsPublic(t *testing.T) {
	before, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{"0.0.0.0:8333", "[::]:8333", "192.0.2.1:8333", "unix:/s?mode=0666"} {
		s, err := load("--inbound-source", "none", "--inbound", spec+"=127.0.0.1:8335", "--inbound-network", "mainnet")
		if err != nil {
			t.Errorf("%s: got %v", spec, err)
			continue
		}
		if err := s.CheckInboundListener(&net.TCPAddr{IP: net.IPv4zero, Port: 8333}); err != nil {
			t.Errorf("%s: got %v", spec, err)
		}
		if more := s.Descriptors() - before.Descriptors(); more < 6*125 {
			t.Errorf("%d descriptors for 125 sessions", more)
		}
	}
}

// FuzzInbound checks that any --inbound is an error that names a setting, or a listener and a node.
func FuzzInbound(f *testing.F) {
	for _, s := range []string{"0.0.0.0:8333=127.0.0.1:8335", "systemd:inbound=127.0.0.1:8335", "unix:/a?mode=0666=unix:/b", "=", "==", "[::1]:0=[::1]:1",
		"a:1=b:2", "127.0.0.1:8333=[fe80::1%eth0]:8335", "systemd:=unix:", "0.0.0.0:8333=[::ffff:127.0.0.1]:8335"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pair string) {
		s := defaults()
		s.inboundNetwork, s.InboundSource = "regtest", "none"
		l, err := s.parseInbound(pair)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "--inbound") {
				t.Errorf("%q: got %v", pair, err)
			}
			return
		}
		if l.Listen == "" || !strings.HasPrefix(pair, l.Listen+"=") || l.Magic != transport.Regtest.Magic || l.Node.Address == "" || (l.Node.Network != "tcp" && l.Node.Network != "unix") {
			t.Errorf("%q: got %+v, node %v", pair, l, l.Node)
		}
	})
}
