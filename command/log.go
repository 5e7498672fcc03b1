package command

import (
	"bytes"
	"io"
	"log/slog"

	"bip324proxy/internal/journal"
	"bip324proxy/internal/logqueue"
)

// logPrefix begins the lines of the program where another program writes, too.
const logPrefix = "bip324-proxy: "

// newLog returns a log in that format, text or json, or for systemd's journal if that reads
// out. The queue writes its lines to out, each with the prefix, and a line with the number of
// lost ones.
func newLog(out io.Writer, prefix, format string, level slog.Leveler) (*slog.Logger, *logqueue.Queue) {
	options := &slog.HandlerOptions{Level: level}
	inFormat := func(w io.Writer) slog.Handler {
		if prefix != "" {
			w = journal.Prefixed(w, prefix)
		}
		if format == "json" {
			return slog.NewJSONHandler(w, options)
		}
		return slog.NewTextHandler(w, options)
	}
	handler := inFormat
	if journal.Is(out) {
		handler = func(w io.Writer) slog.Handler { return journal.NewHandler(w, inFormat) }
	}
	queue := logqueue.New(out, func(lost uint64) []byte {
		var line bytes.Buffer
		slog.New(handler(&line)).Error("lines lost", "n", lost)
		return line.Bytes()
	})
	return slog.New(handler(queue)), queue
}

// setLevel sets the log's level to that of the settings, which is valid.
func (s *service) setLevel() { s.level.UnmarshalText([]byte(s.settings().LogLevel)) }
