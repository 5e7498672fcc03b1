package settings

import (
	"fmt"
	"strings"
	"testing"
)

// A rule that would silently be about one host is an error, unless it is written with a dot.
func TestParseRule(t *testing.T) {
	for text, meant := range map[string]string{
		"prvate": "private", "privat": "private", "privte:25": "private", "PRIVATE": "private", "all": "*", "Onion": "*.onion",
		"private": "", "private:25": "", "prvate.": "", "pirate.": "", "onion.": "", "prvate.example": "", "*": "", "*.onion": "", ".onion": "",
		"localhost": "", "mynode": "", "10.0.0.0/8": "", "[fd00::1]:25": "",
	} {
		_, err := parseRule(text)
		if got := fmt.Sprint(err); (err == nil) != (meant == "") || meant != "" && !strings.Contains(got, "did you mean "+meant+"?") {
			t.Errorf("%s: got %v, want %s", text, err, meant)
		}
	}
}

// Nearest finds the name behind a typo, and none for any other word.
func TestNearest(t *testing.T) {
	var names []string
	for _, s := range table {
		names = append(names, s.name)
	}
	names = append(names, "check", "completion", "demo", "man", "version", "help", "watch")
	for word, want := range map[string]string{
		"v1-falback": "v1-fallback", "v1_fallback": "v1-fallback", "V1-Fallback": "v1-fallback", "fallback": "v1-fallback",
		"upstraem": "upstream", "log-adresses": "log-addresses", "logaddresses": "log-addresses", "listne": "listen",
		"statustoken": "status-token", "satus": "status", "knownpeers": "known-peers", "max-session": "max-sessions",
		"chekc": "check", "wacth": "watch", "chek": "check", "hepl": "help", "dem": "demo", "conf": "config", "completions": "completion", "allow": "allow",
		"": "", "x": "", "ab": "", "v2": "", "foo": "", "serve": "", "start": "", "127.0.0.1:1324": "", "loglog": "", "-": "",
		"proxy.example": "", "asdfghjkl": "", "ÿÿÿÿ": "", strings.Repeat("listen", 100_000): "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%.40q: got %q, want %q", word, got, want)
		}
	}
}
