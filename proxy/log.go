package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"bip324proxy/transport/fallback"
	"bip324proxy/v1v2"
)

// logOpen logs, once, that both ends are settled.
func (s *session) logOpen(transport string, more ...any) {
	s.endsInOrder()
	s.count(func(t *tally) { t.open(transport) })
	s.show(func(info *SessionInfo) { info.State, info.Transport = StateOpen, transport })
	args := append(s.attrs(), s.transportAttrs()...)
	if network := s.shown.Network; network != "" {
		args = append(args, "network", network)
	}
	level := slog.LevelInfo
	if s.shown.Plaintext() {
		level = slog.LevelWarn
	}
	s.limitLines()
	s.server.log().Log(context.Background(), s.lineLevel(level), "session opened", append(args, more...)...)
	for _, logEarly := range s.early {
		logEarly()
	}
	s.early = nil
	s.logShapes()
}

// limitLines decides whether a peer's session has lines in the log.
func (s *session) limitLines() {
	if s.peer == nil || s.peer.place.MayLog() {
		return
	}
	s.peer.quiet = true
	s.server.logFolded("quiet sessions", slog.LevelInfo, nil, "too many inbound sessions for a log line each; the others are logged at level debug", "inbound", true)
}

// lineLevel returns the level of a line about an open session.
func (s *session) lineLevel(level slog.Level) slog.Level {
	if s.peer != nil && s.peer.quiet {
		return slog.LevelDebug
	}
	return level
}

// transportAttrs returns the attributes that say how an open session reaches its peer.
func (s *session) transportAttrs() []any {
	args := []any{"transport", s.shown.Transport}
	if s.shown.Plaintext() {
		args = append(args, "plaintext", true)
	}
	return args
}

// logOutcome logs, once, how the session ended; err is the cause.
func (s *session) logOutcome(o Outcome, err error) {
	if s.redacts() {
		o.Reason, o.Hint = s.explain(o.why, err, true)
	}
	args := s.attrs()
	if s.opened() {
		args = append(args, s.transportAttrs()...)
	}
	duration := o.Time.Sub(s.shown.Began).Round(time.Millisecond)
	args = append(append(args, "reason", o.Reason, "duration", duration), hintAttr(o.Hint)...)
	if s.opened() {
		t := s.info().Traffic
		args = append(args,
			"messages_to_peer", t.MessagesToPeer,
			"messages_to_client", t.MessagesToClient,
			"bytes_to_peer", t.BytesToPeer,
			"bytes_to_client", t.BytesToClient,
			"dropped", t.Dropped)
		if shaping := s.shapingNow(); shaping.Shape != "" {
			args = append(args, "shape", shaping.Shape, "filler", shaping.FillerToPeer)
		}
		s.server.log().Log(context.Background(), s.lineLevel(slog.LevelInfo), "session closed", append(args, s.droppedFor()...)...)
	} else if err != nil { // else a question was answered
		s.server.log().Log(context.Background(), s.logLevel(o, err), "session refused", append(args, s.droppedFor()...)...)
	}
}

// logLevel returns the level to log a refusal at: Debug if one like it was logged within
// foldRefusalsFor. What a client of this machine causes is a line each time: whoever
// sets it up wants to see it.
func (s *session) logLevel(o Outcome, err error) slog.Level {
	level, server := o.why.level, s.server
	if level < slog.LevelInfo || o.why.by != peerCaused && !(s.public && o.why.by == clientCaused) {
		return level
	}
	redacted := o.why.explain(redact(err), o.Network) // the log may be redacted by the time of the folded line
	key, about := foldKey{dest: fallback.CanonicalAddr(o.Dest), kind: o.Kind, level: level}, []any{"dest", fallback.CanonicalAddr(o.Dest)}
	var failed *requestError
	if s.peer != nil { // the node's fault, whoever the peer is
		key.dest, key.client = "", o.Client
		about = []any{"node", o.Client}
	} else if o.why.by == clientCaused {
		key.dest, key.reason = "", redacted
		key.client = s.from.String()
		about = []any{"clients", key.client}
	} else if errors.As(err, &failed) {
		key.code = failed.code
	}
	if server.folded.isFirst(key, nil, func(again int, _ clientSet) {
		args := append([]any{"reason", o.Reason, "within", foldRefusalsFor}, about...)
		if server.policy().HideAddresses {
			args = []any{"reason", redacted, "within", foldRefusalsFor}
		}
		server.log().Log(context.Background(), level, "session refused again", append(args, "repeated", again)...)
	}) {
		return level
	}
	return slog.LevelDebug
}

// logFolded logs a line about client, or about none if that is nil; lines with the same
// key that follow are folded.
func (s *Server) logFolded(key string, level slog.Level, client net.Addr, msg string, args ...any) {
	s.folded.line(foldKey{line: key}, client, func(again int, clients clientSet) {
		all := append(clients.attr(s.policy().HideAddresses), args...)
		if again > 0 {
			all = append(all, "again", again, "within", foldFor)
		}
		s.log().Log(context.Background(), level, msg, all...)
	})
}

// hintAttr returns the attribute with the hint about err, if there is one.
func (s *Server) hintAttr(err error) []any {
	return hintAttr(s.hint(Failure{Kind: refusalOf(err).kind, Err: err}))
}

func hintAttr(hint string) []any {
	if hint == "" {
		return nil
	}
	return []any{"hint", hint}
}

// redacts reports whether the log is to have no addresses.
func (s *session) redacts() bool { return s.server.policy().HideAddresses }

// attrs returns the attributes that every line about the session begins with.
func (s *session) attrs() []any {
	args := []any{"session", s.shown.Number}
	if s.peer != nil {
		args = append(args, "inbound", true)
		if !s.redacts() {
			args = append(args, "peer", s.shown.Dest)
		}
		args = append(args, "node", s.shown.Client) // the user's own
		if !s.redacts() && s.shown.Source != "" {
			args = append(args, "source", s.shown.Source)
		}
		return args
	}
	if s.redacts() {
		return args
	}
	args = append(args, "client", s.shown.Client)
	if s.shown.Dest != "" {
		args = append(args, "dest", s.shown.Dest)
	}
	return args
}

// firstDropped logs the first message of a kind that the session drops; v1v2.Counts
// calls it once for each reason and direction. A session that does not open has one line
// in the log, which may be folded: that one has what it dropped.
func (s *session) firstDropped(direction string, d v1v2.Dropped) {
	if !s.opened() {
		s.early = append(s.early, func() { s.logDropped(direction, d) })
		return
	}
	s.logDropped(direction, d)
}

// logDropped logs a dropped message. The sender chose its type, so that is escaped. One of an
// inbound peer is logged at Debug: strangers could cause any number of warnings.
func (s *session) logDropped(direction string, d v1v2.Dropped) {
	level := slog.LevelWarn
	if s.peer != nil && direction == "to_client" {
		level = slog.LevelDebug
	}
	args := append(s.attrs(), "direction", direction, "reason", d.Reason.String())
	if d.Reason == v1v2.UnknownID {
		args = append(args, "id", d.ID)
	} else if d.Reason != v1v2.Empty {
		args = append(args, "type", d.Type.Quoted())
	}
	s.server.log().Log(context.Background(), s.lineLevel(level), "message dropped; more of its kind in this session are only counted", args...)
}

// droppedFor returns the attribute with how many messages the session dropped by reason,
// if any.
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
