package proxy

import (
	"fmt"
	"strings"

	"bip324proxy/v1v2"
)

// firstDropped tells of the first message of a kind that the session has dropped;
// v1v2.Counts calls it once for each reason and direction. A session that does not open
// has one line in the log, which may be folded: what it dropped is there.
func (s *session) firstDropped(direction string, d v1v2.Dropped) {
	if !s.opened() {
		s.early = append(s.early, d)
		return
	}
	s.logDropped(direction, d)
}

// logDropped logs a message that was dropped. Its type is the sender's choice, and so
// escaped.
func (s *session) logDropped(direction string, d v1v2.Dropped) {
	args := append(s.attrs(), "direction", direction, "reason", d.Reason.String())
	if d.Reason == v1v2.UnknownID {
		args = append(args, "id", d.ID)
	} else if d.Reason != v1v2.Empty {
		args = append(args, "type", d.Type.Quoted())
	}
	s.server.log().Warn("message dropped; more of its kind in this session are only counted", args...)
}

// addDropped adds what the session has dropped to all, by reason.
func (s *session) addDropped(all map[string]uint64) {
	for _, r := range v1v2.Reasons {
		if n := s.up.DroppedFor(r) + s.down.DroppedFor(r); n > 0 {
			all[r.String()] += n
		}
	}
}

// droppedFor is the log's attribute with what the session has dropped by reason, if
// anything.
func (s *session) droppedFor() []any {
	var all []string
	for _, r := range v1v2.Reasons {
		if n := s.up.DroppedFor(r) + s.down.DroppedFor(r); n > 0 {
			all = append(all, fmt.Sprintf("%v=%d", r, n))
		}
	}
	if all == nil {
		return nil
	}
	return []any{"dropped_for", strings.Join(all, " ")}
}
