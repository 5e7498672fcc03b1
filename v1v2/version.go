package v1v2

import "encoding/binary"

const (
	// recvEnd is where addr_recv ends, in bytes: behind the version, services and
	// time.
	recvEnd = 4 + 8 + 8 + 26

	// agentAt is where VERSION has its user agent, in bytes: behind the version,
	// services, time, both addresses and the nonce.
	agentAt = 4 + 8 + 8 + 26 + 26 + 8

	// maxAgent is the longest user agent, in bytes (Bitcoin Core,
	// MAX_SUBVERSION_LENGTH).
	maxAgent = 256
)

var versionType = TypeOf("version")

// Version is what a VERSION message's payload says of its sender, as far as anybody
// here wants to know.
type Version struct {
	Protocol  int32
	Services  uint64
	UserAgent string // see UserAgent
	Height    int32  // of its best block; 0 if it does not say
}

// ParseVersion reads a VERSION message's payload. It is false if that is shorter
// than what Bitcoin Core takes: up to the first address.
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

// AppendVersion appends the payload of a VERSION message to b that says v, a user
// agent of less than 253 bytes, and of all else nothing: no time, no addresses, and
// no wish for transactions. The nonce is for who might be connected to itself.
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

// UserAgent is that of a VERSION message's payload, such as
// "/Satoshi:30.0.0/" (BIP14), with a question mark for every byte that is not
// printable ASCII. It is empty if there is none, or one that Bitcoin Core would
// not take.
func UserAgent(version []byte) string {
	agent, _ := cutAgent(version)
	return printable(agent)
}

// cutAgent returns the user agent of a VERSION message's payload and what is behind
// it, or nothing.
func cutAgent(version []byte) (agent, rest []byte) {
	if len(version) <= agentAt {
		return nil, nil
	}
	size, b := int(version[agentAt]), version[agentAt+1:]
	switch {
	case size == 0xfd && len(b) >= 2: // a CompactSize of three bytes
		size, b = int(binary.LittleEndian.Uint16(b)), b[2:]
		if size < 0xfd {
			return nil, nil // it would have fitted into one
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
