package fallback

import (
	"cmp"
	"fmt"
)

// Mode says when v1, which is plaintext, may be spoken to a peer without v2.
type Mode int

const (
	// Never keeps plaintext off the wire. It is the default.
	Never Mode = iota
	// Overlay allows v1 on networks that encrypt by themselves (see Dialer.Overlay).
	Overlay
	// Always allows v1 to every peer that is not known to speak v2.
	Always
)

var modeNames = map[Mode]string{Never: "never", Overlay: "overlay", Always: "always"}

// ParseMode parses never, overlay or always.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return m, nil
		}
	}
	return Never, fmt.Errorf("%q is invalid; must be never, overlay or always", s)
}

func (m Mode) String() string { return cmp.Or(modeNames[m], fmt.Sprintf("mode %d", int(m))) }
