package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bip324proxy/transport"
)

// beginsShape reports whether text, after a comma, is the next [LISTENER=]SHAPE: if not, it is a
// key=value of the one before.
func beginsShape(text string) bool {
	before, _, pair := strings.Cut(text, "=")
	return !pair && slices.Contains(transport.ShapeModes, text) || strings.ContainsAny(before, ":/")
}

// splitShapes splits text at the commas before a [LISTENER=]SHAPE.
func splitShapes(text string) (all []string) {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if last := len(all) - 1; last >= 0 && !beginsShape(part) {
			all[last] += "," + part
		} else {
			all = append(all, part)
		}
	}
	return all
}

// checkShapes makes the shapes of clients' sessions and of listeners.
func (s *Settings) checkShapes() error {
	given := make(map[string]bool)
	s.Shapes = make(map[string]transport.Shape)
	for _, text := range s.shape {
		listener, shape, err := s.parseShape(text)
		switch {
		case err != nil:
			return s.Invalid("shape", err)
		case given[listener] && listener == "":
			return s.Invalid("shape", fmt.Errorf("%q is the second shape without a LISTENER; remove one, or write LISTENER=%[1]s", text))
		case given[listener]:
			return s.Invalid("shape", fmt.Errorf("%q is the second shape of this listener; remove one", text))
		case listener == "":
			s.Policy.Shape = shape
		default:
			s.Shapes[listener] = shape
		}
		given[listener] = true
	}
	return nil
}

// parseShape parses [LISTENER=]SHAPE.
func (s *Settings) parseShape(text string) (listener string, shape transport.Shape, err error) {
	listener, text, err = s.splitShape(text)
	if err != nil {
		return "", shape, err
	}
	shape, err = transport.ParseShape(text)
	var unknown *transport.ShapeError
	if errors.As(err, &unknown) {
		if meant := Nearest(unknown.Word, unknown.Valid); meant != "" {
			err = fmt.Errorf("%w; did you mean %s?", err, meant)
		}
	}
	if shape.Mode == transport.ShapeCore && s.IsInbound(listener) {
		err = fmt.Errorf("core has no effect at %s, an address of --inbound: there the peer's VERSION comes first; must be off, pad, cover or tunnel", listener)
	}
	return listener, shape, err
}

// splitShape returns the parts of [LISTENER=]SHAPE. Both may contain a =.
func (s *Settings) splitShape(text string) (listener, shape string, err error) {
	all := s.listenerNames()
	for _, name := range all {
		if rest, ok := strings.CutPrefix(text, name+"="); ok && len(name) > len(listener) {
			listener, shape = name, rest
		}
	}
	before, _, _ := strings.Cut(text, "=")
	switch {
	case listener != "":
		return listener, shape, nil
	case slices.Contains(all, text):
		return "", "", fmt.Errorf("%q is a listener without a shape; write %[1]s=SHAPE, such as %[1]s=pad", text)
	case !strings.ContainsAny(before, ":/"):
		return "", text, nil
	}
	err = fmt.Errorf("%q is not the address of a listener; must be %s, as in --listen, --peer, --transparent or --inbound", before, orList(all))
	if meant := Nearest(before, all); meant != "" {
		err = fmt.Errorf("%w; did you mean %s?", err, meant)
	}
	return "", "", err
}

// listenerNames returns the addresses of all listeners, as the settings have them.
func (s *Settings) listenerNames() []string {
	names := slices.Concat(s.Listen, s.Transparent)
	for _, p := range s.PeerListeners {
		names = append(names, p.Listen)
	}
	for _, in := range s.Inbound {
		names = append(names, in.Listen)
	}
	return names
}

// IsInbound reports whether listener is an address of --inbound.
func (s *Settings) IsInbound(listener string) bool {
	return slices.ContainsFunc(s.Inbound, func(in InboundListener) bool { return in.Listen == listener })
}
