package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"bip324proxy/v1v2"
)

// logOpen logs, once, that both ends are settled.
func (s *session) logOpen(transport string, more ...any) {
	s.server.count(func(t *tally) { t.open(transport) })
	s.show(func(info *SessionInfo) { info.State, info.Transport = StateOpen, transport })
	args := append(s.attrs(), s.transportAttrs()...)
	if network := s.shown.Network; network != "" {
		args = append(args, "network", network)
	}
	s.server.log().Log(context.Background(), s.openLevel(), "session opened", append(args, more...)...)
	for _, d := range s.early {
		s.logDropped("to_peer", d)
	}
	s.early = nil
}

// openLevel is a warning if the session is in plaintext.
func (s *session) openLevel() slog.Level {
	if s.shown.Plaintext() {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// transportAttrs are what the log says of how an open session reaches its peer.
func (s *session) transportAttrs() []any {
	args := []any{"transport", s.shown.Transport}
	if s.shown.Plaintext() {
		args = append(args, "plaintext", true)
	}
	return args
}

// logEnd logs, once, how the session ended.
func (s *session) logEnd(end Ended, err error) {
	if s.hides() {
		end.Reason, end.Hint = s.explain(s.loggable(err))
	}
	if s.opened() {
		t := s.info().Traffic
		args := append(append(s.attrs(), s.transportAttrs()...),
			"reason", end.Reason,
			"duration", s.duration(),
			"messages_to_peer", t.MessagesToPeer,
			"messages_to_client", t.MessagesToClient,
			"bytes_to_peer", t.BytesToPeer,
			"bytes_to_client", t.BytesToClient,
			"dropped", t.Dropped)
		s.server.log().Info("session closed", append(args, s.droppedFor()...)...)
		return
	}
	if err == nil {
		return // a question was answered
	}
	level := s.foldedLevel(end, err)
	args := append(append(s.attrs(), "reason", end.Reason, "duration", s.duration()), s.droppedFor()...)
	if end.Hint != "" {
		args = append(args, "hint", end.Hint)
	}
	s.server.log().Log(context.Background(), level, "session refused", args...)
}

func (s *session) duration() time.Duration { return time.Since(s.shown.Began).Round(time.Millisecond) }

// hides says whether the log is to have no addresses.
func (s *session) hides() bool { return s.server.policy().HideAddresses }

// loggable is err as the log may have it.
func (s *session) loggable(err error) error {
	if s.hides() {
		return hidden(err)
	}
	return err
}

// attrs are what every line about the session begins with.
func (s *session) attrs() []any {
	args := []any{"session", s.shown.Number}
	if s.hides() {
		return args
	}
	args = append(args, "client", s.shown.Client)
	if s.shown.Dest != "" {
		args = append(args, "dest", s.shown.Dest)
	}
	return args
}

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
