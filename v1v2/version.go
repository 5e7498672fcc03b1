package v1v2

import "encoding/binary"

const (
	// agentAt is where VERSION has its user agent, in bytes: behind the version,
	// services, time, both addresses and the nonce.
	agentAt = 4 + 8 + 8 + 26 + 26 + 8

	// maxAgent is the longest user agent, in bytes (Bitcoin Core,
	// MAX_SUBVERSION_LENGTH).
	maxAgent = 256
)

var versionType = TypeOf("version")

// UserAgent is that of a VERSION message's payload, such as
// "/Satoshi:30.0.0/" (BIP14), with a question mark for every byte that is not
// printable ASCII. It is empty if there is none, or one that Bitcoin Core would
// not take.
func UserAgent(version []byte) string {
	if len(version) <= agentAt {
		return ""
	}
	size, b := int(version[agentAt]), version[agentAt+1:]
	switch {
	case size == 0xfd && len(b) >= 2: // a CompactSize of three bytes
		size, b = int(binary.LittleEndian.Uint16(b)), b[2:]
		if size < 0xfd {
			return "" // it would have fitted into one
		}
	case size >= 0xfd:
		return ""
	}
	if size > maxAgent || size > len(b) {
		return ""
	}
	agent := make([]byte, size)
	for i, c := range b[:size] {
		if c < ' ' || c > '~' {
			c = '?'
		}
		agent[i] = c
	}
	return string(agent)
}
