// Package journal formats a log for systemd's journal: each line begins with its priority
// (sd-daemon(3)) and has no time, which the journal adds. The event log of Windows takes the
// same lines.
package journal

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// levels are in descending order; prefixes has their priorities in RFC 5424.
var (
	levels   = []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug}
	prefixes = map[slog.Level]string{slog.LevelError: "<3>", slog.LevelWarn: "<4>", slog.LevelInfo: "<6>", slog.LevelDebug: "<7>"}
)

// Error returns a line of text with the priority of an error.
func Error(text string) string { return prefixes[slog.LevelError] + text }

// handler is a slog.Handler that passes a record on to the handler of its level, without
// its time.
type handler map[slog.Level]slog.Handler

// of returns the handler for level.
func (h handler) of(level slog.Level) slog.Handler {
	for _, l := range levels {
		if level >= l {
			return h[l]
		}
	}
	return h[slog.LevelDebug]
}

// NewHandler returns a handler that writes to w what make's handlers write, each line with
// its priority and without its time. It calls make once for each priority.
func NewHandler(w io.Writer, make func(io.Writer) slog.Handler) slog.Handler {
	h := handler{}
	for level, prefix := range prefixes {
		h[level] = make(prefixed{w, prefix})
	}
	return h
}

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.of(level).Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Time{}
	return h.of(r.Level).Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(each slog.Handler) slog.Handler { return each.WithAttrs(attrs) })
}

func (h handler) WithGroup(name string) slog.Handler {
	return h.with(func(each slog.Handler) slog.Handler { return each.WithGroup(name) })
}

func (h handler) with(change func(slog.Handler) slog.Handler) handler {
	changed := handler{}
	for level, each := range h {
		changed[level] = change(each)
	}
	return changed
}

// Prefixed returns a writer that writes text before each line, which must come in one Write.
func Prefixed(w io.Writer, text string) io.Writer { return prefixed{w, text} }

// prefixed writes text before each line, which must come in one Write.
type prefixed struct {
	w    io.Writer
	text string
}

func (p prefixed) Write(line []byte) (int, error) {
	n, err := p.w.Write(append([]byte(p.text), line...))
	return max(0, n-len(p.text)), err
}
