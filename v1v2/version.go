package v1v2

import "encoding/binary"

const (
	// recvEnd is where addr_recv ends: after the version, services and time.
	recvEnd = 4 + 8 + 8 + 26

	// agentAt is where the user agent begins: after addr_recv, addr_from and the nonce.
	agentAt = recvEnd + 26 + 8

	// maxAgent is Bitcoin Core's MAX_SUBVERSION_LENGTH, in bytes.
	maxAgent = 256
)

var versionType = TypeOf("version")

// Version is what a VERSION message says about its sender: the fields used here.
type Version struct {
	Protocol  int32
	Services  uint64
	UserAgent string // see UserAgent
	Height    int32  // of its best block; 0 if missing
}

// ParseVersion parses a VERSION message's payload. ok is false if it is shorter than
// Bitcoin Core accepts: up to the first address.
func ParseVersion(payload []byte) (v Version, ok bool) {
	if len(payload) < recvEnd {
		return v, false
	}
	v.Protocol = int32(binary.LittleEndian.Uint32(payload))
	v.Services = binary.LittleEndian.Uint64(payload[4:])
	agent, rest := cutAgent(payload)
	v.UserAgent = printable(agent)
	if len(rest) >= 4 {
		v.Height = int32(binary.LittleEndian.Uint32(rest))
	}
	return v, true
}

// AppendVersion appends the payload of a VERSION message with the fields of v, whose user
// agent must be shorter than 253 bytes, to b. All other fields are zero: time, addresses
// and relay. The nonce detects a connection to oneself.
func AppendVersion(b []byte, v Version, nonce uint64) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(v.Protocol))
	b = binary.LittleEndian.AppendUint64(b, v.Services)
	b = append(b, make([]byte, 8+26+26)...) // time and both addresses
	b = binary.LittleEndian.AppendUint64(b, nonce)
	b = append(b, byte(len(v.UserAgent)))
	b = append(b, v.UserAgent...)
	b = binary.LittleEndian.AppendUint32(b, uint32(v.Height))
	return append(b, 0) // relay
}

// UserAgent returns the user agent in a VERSION message's payload, such as
// "/Satoshi:30.0.0/" (BIP14), with a question mark for every byte that is not printable
// ASCII. It is empty if the user agent is missing or Bitcoin Core would reject it.
func UserAgent(version []byte) string {
	agent, _ := cutAgent(version)
	return printable(agent)
}

// cutAgent returns the user agent in a VERSION message's payload and the bytes after it.
func cutAgent(version []byte) (agent, rest []byte) {
	if len(version) <= agentAt {
		return nil, nil
	}
	size, b := int(version[agentAt]), version[agentAt+1:]
	switch {
	case size == 0xfd && len(b) >= 2: // a CompactSize of three bytes
		size, b = int(binary.LittleEndian.Uint16(b)), b[2:]
		if size < 0xfd {
			return nil, nil // not canonical: one byte would do
		}
	case size >= 0xfd:
		return nil, nil
	}
	if size > maxAgent || size > len(b) {
		return nil, nil
	}
	return b[:size], b[size:]
}

func printable(text []byte) string {
	clean := make([]byte, len(text))
	for i, c := range text {
		if c < ' ' || c > '~' {
			c = '?'
		}
		clean[i] = c
	}
	return string(clean)
}
