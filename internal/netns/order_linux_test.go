package netns

import (
	"slices"
	"testing"
)

// Any bytes but zero reach the command as they are, and of an order that was cut nothing.
func TestOrder(t *testing.T) {
	var all []byte
	for b := 1; b < 256; b++ {
		all = append(all, byte(b))
	}
	want := order{"/bin/a\xff", "a\xff", "", string(all), ""}
	b := want.encode()
	if got := decodeOrder(b); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, cut := range [][]byte{nil, b[:3]} {
		if got := decodeOrder(cut); got != nil {
			t.Errorf("%q is read as %q", cut, got)
		}
	}
}
