package journal

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/eventlog"
)

// EventLog is an io.Writer to the event log of Windows. Its lines begin with their priority.
type EventLog struct{ log *eventlog.Log }

// OpenEventLog opens the event log for events of that source. The caller must call Close.
func OpenEventLog(source string) (*EventLog, error) {
	log, err := eventlog.Open(source)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	return &EventLog{log}, nil
}

// Close closes the event log.
func (e *EventLog) Close() error { return e.log.Close() }

// Is reports whether w is the event log.
func Is(w io.Writer) bool {
	_, ok := w.(*EventLog)
	return ok
}

// Write writes a line as one event.
func (e *EventLog) Write(line []byte) (int, error) {
	const id = 1 // EventCreate.exe, which has the texts of the events, knows 1 to 1000
	kind, text := event(line)
	write := map[uint16]func(uint32, string) error{
		windows.EVENTLOG_ERROR_TYPE:       e.log.Error,
		windows.EVENTLOG_WARNING_TYPE:     e.log.Warning,
		windows.EVENTLOG_INFORMATION_TYPE: e.log.Info,
	}[kind]
	if err := write(id, text); err != nil {
		return 0, err
	}
	return len(line), nil
}

// insertion matches what the Event Viewer would replace in a text, such as the zone of a link-local
// address.
var insertion = regexp.MustCompile(`%([%0-9])`)

// event returns the kind of event for a line, by its priority, and its text of at most maxText
// bytes.
func event(line []byte) (kind uint16, text string) {
	const maxText = 31000 // the event log takes 31,839 UTF-16 units
	kind = windows.EVENTLOG_INFORMATION_TYPE
	for level, prefix := range prefixes {
		rest, ok := bytes.CutPrefix(line, []byte(prefix))
		switch {
		case !ok:
			continue
		case level >= slog.LevelError:
			kind = windows.EVENTLOG_ERROR_TYPE
		case level >= slog.LevelWarn:
			kind = windows.EVENTLOG_WARNING_TYPE
		}
		line = rest
		break
	}
	text = strings.ToValidUTF8(strings.TrimRight(string(line), "\n"), string(utf8.RuneError))
	text = insertion.ReplaceAllString(text, "% $1")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return kind, text
}
