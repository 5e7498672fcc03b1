package v1v2

import (
	"bytes"
	"strings"
	"testing"
)

func TestCountsOfMessages(t *testing.T) {
	var c Counts
	if got := c.LastType(); got != "" {
		t.Errorf("before any message: got %q", got)
	}
	for _, name := range []string{"version", "verack", "inv", "inv", "getcfilters", "sendaddrv2"} {
		if c.Add(TypeOf(name), 30); c.LastType() != name {
			t.Errorf("got %q after %q", c.LastType(), name)
		}
	}
	for _, name := range []string{"", "nobody's", "INV"} {
		if c.Add(TypeOf(name), 1000); c.LastType() != "other" {
			t.Errorf("got %q after %q, want other", c.LastType(), name)
		}
	}
	if m, b := c.Messages.Load(), c.Bytes.Load(); m != 9 || b != 6*30+3*1000 {
		t.Errorf("got %d messages of %d bytes", m, b)
	}
	types := []Type{TypeOf("tx"), TypeOf("tx"), TypeOf("nobody's"), TypeOf("other one"), TypeOf("verack")}
	if n := testing.AllocsPerRun(100, func() {
		for _, t := range types {
			c.Add(t, 100)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// Only the first VERSION with a user agent counts.
func TestCountsOfAgents(t *testing.T) {
	var c Counts
	c.NoteVersion(versionOf("\x00"))
	if got := c.UserAgent(); got != "" {
		t.Errorf("got %q from an empty VERSION", got)
	}
	c.NoteVersion(versionOf("\x05/one/"))
	c.NoteVersion(versionOf("\x05/two/"))
	if got := c.UserAgent(); got != "/one/" {
		t.Errorf("got %q", got)
	}
}

// versionOf returns VERSION's payload with the user agent, including its size, and the rest.
func versionOf(agent string) []byte {
	return append(bytes.Repeat([]byte{0xfd}, agentAt), agent...)
}

func TestUserAgent(t *testing.T) {
	long := strings.Repeat("x", 256)
	for agent, want := range map[string]string{
		"\x10/Satoshi:30.0.0/\x00\x00\x00\x00\x01": "/Satoshi:30.0.0/",
		"\x05/a/":                          "",
		"":                                 "",
		"\xfd":                             "",
		"\xfd\x00":                         "",
		"\xfd\x05\x00/abc/":                "", // not the shortest encoding of the size
		"\xfd\xfd\x00" + long[:253] + "yy": long[:253],
		"\xfd\x00\x01" + long:              long,
		"\xfd\x01\x01" + long + "x":        "", // longer than Core accepts
		"\xfe\x05\x00\x00\x00/abc/":        "",
		"\xff\x05\x00\x00\x00\x00\x00\x00\x00/abc/": "",
		"\x07<b>\x1b[1m":       "<b>?[1m",
		"\x04\xc3\xa9\x7f\x00": "????",
	} {
		if got := UserAgent(versionOf(agent)); got != want {
			t.Errorf("%q: got %q, want %q", agent, got, want)
		}
	}
	if got := UserAgent(make([]byte, agentAt)); got != "" {
		t.Errorf("got %q from a VERSION that ends before it", got)
	}
}

func FuzzUserAgent(f *testing.F) {
	f.Add(versionOf("\x10/Satoshi:30.0.0/\x00\x00\x00\x00\x01"))
	f.Add(versionOf("\xfd\x00\x01" + strings.Repeat("y", 256)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, version []byte) {
		agent := UserAgent(version)
		if len(agent) > maxAgent || strings.ContainsFunc(agent, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("got %q", agent)
		}
		if agent != "" && !strings.Contains(agent, "?") && !bytes.Contains(version, []byte(agent)) {
			t.Errorf("the payload lacks %q", agent)
		}
		if v, ok := ParseVersion(version); ok && v.UserAgent != agent || ok != (len(version) >= recvEnd) {
			t.Errorf("got %v, %v from %d bytes with the user agent %q", v, ok, len(version), agent)
		}
	})
}
