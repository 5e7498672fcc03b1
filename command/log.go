package command

import (
	"bytes"
	"io"
	"log/slog"

	"bip324proxy/internal/journal"
)

// logFormat is the format of log lines.
type logFormat struct {
	name    string // text or json
	journal bool   // systemd's journal reads them
}

// linesLost returns the line that reports n lost lines.
func (f logFormat) linesLost(n uint64) []byte {
	var line bytes.Buffer
	f.logger(&line, slog.LevelError).Error("lines lost", "n", n)
	return line.Bytes()
}

// logger returns a logger that writes to w.
func (f logFormat) logger(w io.Writer, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	handler := func(w io.Writer) slog.Handler {
		if f.name == "json" {
			return slog.NewJSONHandler(w, options)
		}
		return slog.NewTextHandler(w, options)
	}
	if f.journal {
		return slog.New(journal.NewHandler(w, handler))
	}
	return slog.New(handler(w))
}

// setLevel sets the log's level to that of the settings, which is valid.
func (s *service) setLevel() { s.level.UnmarshalText([]byte(s.settings().LogLevel)) }
