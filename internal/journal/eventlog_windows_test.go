package journal

import (
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// An event has its line's level, and a text that the event log takes and shows as it is.
func TestEvent(t *testing.T) {
	for line, want := range map[string]struct {
		kind uint16
		text string
	}{
		"<3>level=ERROR msg=a\n":                  {windows.EVENTLOG_ERROR_TYPE, "level=ERROR msg=a"},
		"<4>level=WARN msg=a\n":                   {windows.EVENTLOG_WARNING_TYPE, "level=WARN msg=a"},
		"<6>level=INFO msg=a\n":                   {windows.EVENTLOG_INFORMATION_TYPE, "level=INFO msg=a"},
		"<7>level=DEBUG msg=a\n":                  {windows.EVENTLOG_INFORMATION_TYPE, "level=DEBUG msg=a"},
		"<6><3>\n":                                {windows.EVENTLOG_INFORMATION_TYPE, "<3>"},
		"a\xff%\n":                                {windows.EVENTLOG_INFORMATION_TYPE, "a\ufffd%"},
		"<6>[fe80::1%12]:8333\n":                  {windows.EVENTLOG_INFORMATION_TYPE, "[fe80::1% 12]:8333"},
		"<6>" + strings.Repeat("é", 20000) + "\n": {windows.EVENTLOG_INFORMATION_TYPE, strings.Repeat("é", 15500) + "…"},
	} {
		if kind, text := event([]byte(line)); kind != want.kind || text != want.text {
			t.Errorf("%.30q: got %d %.30q, want %d %.30q", line, kind, text, want.kind, want.text)
		}
	}
}

func TestEventLog(t *testing.T) {
	e, err := OpenEventLog("bip324-proxy-test")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !Is(e) {
		t.Error("the event log is not taken for it")
	}
	if _, err := e.Write([]byte("<4>level=WARN msg=test\n")); err != nil {
		t.Error(err)
	}
	if _, err := e.Write([]byte("a\x00b\n")); err == nil {
		t.Error("a text that cannot be written must be an error")
	}
}
