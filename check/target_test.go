package check

import (
	"testing"

	"bip324proxy/transport"
)

func TestParseTarget(t *testing.T) {
	for _, test := range []struct{ peer, network, addr, is string }{
		{"192.0.2.1:8333", "", "192.0.2.1:8333", "mainnet"},
		{"192.0.2.1", "", "192.0.2.1:8333", "mainnet"},
		{"node.example", "signet", "node.example:38333", "signet"},
		{"node.example:18333", "", "node.example:18333", "testnet3"},
		{"node.example:48333", "", "node.example:48333", "testnet4"},
		{"node.example:38333", "", "node.example:38333", "signet"},
		{"node.example:18444", "", "node.example:18444", "regtest"},
		{"node.example:18555", "", "node.example:18555", "simnet"},
		{"node.example:18444", "mainnet", "node.example:18444", "mainnet"},
		{"node.example:5555", "", "node.example:5555", "mainnet"},
		{"::1", "", "[::1]:8333", "mainnet"},
		{"[::1]", "regtest", "[::1]:18444", "regtest"},
		{"[2001:db8::1]:8333", "", "[2001:db8::1]:8333", "mainnet"},
		{"node.example:38333", "0A03CF41", "node.example:38333", "0a03cf41"},
		{"node.example", "1c163f28", "node.example:48333", "testnet4"},
	} {
		got, err := ParseTarget(test.peer, test.network)
		if guessed := test.addr == "node.example:5555"; got.Guessed != guessed {
			t.Errorf("%s on %q: guessed is %v, want %v", test.peer, test.network, got.Guessed, guessed)
		}
		if err != nil || got.String() != test.addr || transport.NetworkName(got.Magic) != test.is {
			t.Errorf("%s on %q: %s on %s, %v; want %s on %s", test.peer, test.network, got, transport.NetworkName(got.Magic), err, test.addr, test.is)
		}
	}
	for _, wrong := range [][2]string{
		{"", ""}, {":8333", ""}, {"node.example:0", ""}, {"node.example:99999", ""}, {"node example", ""}, {"[::1", ""}, {"a:b:c", ""},
		{"node.example", "testnet"}, {"node.example", "0a03cf"}, {"node.example", "0a03cf4142"}, {"node.example", "0a03cf41"}, {"node.example", "0a03cf40zz"},
	} {
		if got, err := ParseTarget(wrong[0], wrong[1]); err == nil {
			t.Errorf("%q on %q is %s", wrong[0], wrong[1], got)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("[::1]:8333", "")
	f.Add("node.example", "0a03cf40")
	f.Fuzz(func(t *testing.T, peer, network string) {
		got, err := ParseTarget(peer, network)
		if err != nil {
			return
		}
		got.Guessed = false
		again, err := ParseTarget(got.String(), transport.NetworkName(got.Magic))
		if err != nil || again != got {
			t.Errorf("%q on %q is %s on %s, and that is %v, %v", peer, network, got, transport.NetworkName(got.Magic), again, err)
		}
	})
}
