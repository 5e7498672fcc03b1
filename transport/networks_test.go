package transport

import "testing"

func TestNetworkName(t *testing.T) {
	for magic, want := range map[string]string{
		"\xf9\xbe\xb4\xd9": "mainnet",
		"\x0b\x11\x09\x07": "testnet3",
		"\x1c\x16\x3f\x28": "testnet4",
		"\x0a\x03\xcf\x40": "signet",
		"\xfa\xbf\xb5\xda": "regtest",
		"\x16\x1c\x14\x12": "simnet",
		"\x54\xd2\x6f\xbd": "54d26fbd",
		"\x00\x00\x00\x0a": "0000000a",
	} {
		if got := NetworkName([4]byte([]byte(magic))); got != want {
			t.Errorf("%x is called %s, want %s", magic, got, want)
		}
	}
}
