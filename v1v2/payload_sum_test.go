package v1v2

import "testing"

// The checksum is that of v1, however the payload came, also if a piece was added twice.
func TestPayloadSum(t *testing.T) {
	var s payloadSum
	for i, payload := range [][]byte{testBytes(20_000, 1), testBytes(300_000, 2), {}, testBytes(20_000, 3)} {
		want := checksum(payload)
		for _, piece := range []int{0, 1000, 20_000, len(payload)} { // 0: not at all
			for _, twice := range []bool{false, true} {
				s.reset()
				for rest := payload; piece > 0 && len(rest) > 0; rest = rest[min(piece, len(rest)):] {
					s.add(rest[:min(piece, len(rest))])
				}
				if twice {
					s.spoil()
					s.add(payload[len(payload)/2:])
				}
				if got := s.of(payload); got != want {
					t.Errorf("payload %d in pieces of %d bytes, spoiled: %v: got %x, want %x", i, piece, twice, got, want)
				}
			}
		}
	}
}
