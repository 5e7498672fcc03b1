// Package journal writes a log the way systemd's journal reads it: each line begins with
// its priority (sd-daemon(3)) and has no time, which the journal adds.
package journal

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"time"
)

// priority is a severity of RFC 5424.
type priority int

const (
	priorityError   priority = 3
	priorityWarning priority = 4
	priorityInfo    priority = 6
	priorityDebug   priority = 7
)

// priorities are all that a level can become.
var priorities = []priority{priorityError, priorityWarning, priorityInfo, priorityDebug}

func priorityOf(level slog.Level) priority {
	switch {
	case level >= slog.LevelError:
		return priorityError
	case level >= slog.LevelWarn:
		return priorityWarning
	case level >= slog.LevelInfo:
		return priorityInfo
	}
	return priorityDebug
}

// prefix returns what a line of that priority begins with.
func (p priority) prefix() string { return "<" + strconv.Itoa(int(p)) + ">" }

// Error returns a line of text with the priority of an error.
func Error(text string) string { return priorityError.prefix() + text }

// handler is a slog.Handler that passes a record on to the handler of its priority,
// without its time.
type handler map[priority]slog.Handler

// NewHandler returns a handler that writes to w lines as make's handlers do, with the
// priority in front of each and without the time. make is called several times, with
// writers of its own.
func NewHandler(w io.Writer, make func(io.Writer) slog.Handler) slog.Handler {
	h := handler{}
	for _, p := range priorities {
		h[p] = make(prefixed{w, p.prefix()})
	}
	return h
}

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h[priorityOf(level)].Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Time{}
	return h[priorityOf(r.Level)].Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(each slog.Handler) slog.Handler { return each.WithAttrs(attrs) })
}

func (h handler) WithGroup(name string) slog.Handler {
	return h.with(func(each slog.Handler) slog.Handler { return each.WithGroup(name) })
}

func (h handler) with(change func(slog.Handler) slog.Handler) handler {
	changed := handler{}
	for p, each := range h {
		changed[p] = change(each)
	}
	return changed
}

// prefixed writes text before each line, which must come in one Write.
type prefixed struct {
	w    io.Writer
	text string
}

func (p prefixed) Write(line []byte) (int, error) {
	n, err := p.w.Write(append([]byte(p.text), line...))
	return max(0, n-len(p.text)), err
}
