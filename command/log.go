package command

import (
	"bytes"
	"io"
	"log/slog"

	"bip324proxy/internal/journal"
)

// logFormat is what the lines of the log look like.
type logFormat struct {
	name    string // text or json
	journal bool   // systemd's journal reads them
}

// linesLost returns what makes the line of a log that says that n lines of it were lost.
func linesLost(format logFormat) func(n uint64) []byte {
	return func(n uint64) []byte {
		var line bytes.Buffer
		format.logger(&line, slog.LevelError).Error("lines lost", "n", n)
		return line.Bytes()
	}
}

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

// setLevel makes the log's level that of the settings.
func (s *service) setLevel() {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.settings().LogLevel)); err == nil {
		s.level.Set(level)
	}
}
