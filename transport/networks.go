package transport

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Network is one of Bitcoin's networks.
type Network struct {
	Name  string
	Magic [4]byte // message start, in wire order
	Port  string  // that nodes listen on by default
}

// The networks that have a name. A custom signet has none.
var (
	Mainnet  = Network{"mainnet", [4]byte{0xf9, 0xbe, 0xb4, 0xd9}, "8333"}
	Testnet3 = Network{"testnet3", [4]byte{0x0b, 0x11, 0x09, 0x07}, "18333"}
	Testnet4 = Network{"testnet4", [4]byte{0x1c, 0x16, 0x3f, 0x28}, "48333"}
	Signet   = Network{"signet", [4]byte{0x0a, 0x03, 0xcf, 0x40}, "38333"}
	Regtest  = Network{"regtest", [4]byte{0xfa, 0xbf, 0xb5, 0xda}, "18444"}
	Simnet   = Network{"simnet", [4]byte{0x16, 0x1c, 0x14, 0x12}, "18555"}
)

// Networks are all of them.
var Networks = []Network{Mainnet, Testnet3, Testnet4, Signet, Regtest, Simnet}

// NetworkName returns the name of the network with the given magic, or the magic in
// hexadecimal if it has none.
func NetworkName(magic [4]byte) string {
	for _, n := range Networks {
		if n.Magic == magic {
			return n.Name
		}
	}
	return hex.EncodeToString(magic[:])
}

// ParseNetwork returns the network with the given name, or with the given magic in
// eight hexadecimal digits. It has no port if it is not one of Networks.
func ParseNetwork(s string) (Network, error) {
	b, err := hex.DecodeString(s)
	isMagic := err == nil && len(b) == 4
	for _, n := range Networks {
		if s == n.Name || isMagic && n.Magic == [4]byte(b) {
			return n, nil
		}
	}
	if !isMagic {
		return Network{}, fmt.Errorf("%q is invalid; must be %s, or a magic in eight hexadecimal digits", s, strings.Join(NetworkNames(), ", "))
	}
	return Network{Name: hex.EncodeToString(b), Magic: [4]byte(b)}, nil
}

// NetworkNames returns the names of Networks.
func NetworkNames() (names []string) {
	for _, n := range Networks {
		names = append(names, n.Name)
	}
	return names
}
