package settings

import (
	"encoding/binary"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
)

var little, big = binary.LittleEndian, binary.BigEndian

// Files with a password, a token or settings may have the encoding of any common editor.
func TestFilesOfOtherEditors(t *testing.T) {
	for _, encode := range map[string]func(text string) string{
		"as it is":     func(text string) string { return text },
		"BOM":          func(text string) string { return "\xef\xbb\xbf" + text },
		"UTF-16LE":     func(text string) string { return testkit.UTF16(little, text) },
		"UTF-16BE":     func(text string) string { return testkit.UTF16(big, text) },
		"BOM and CRLF": func(text string) string { return "\xef\xbb\xbf" + strings.ReplaceAll(text, "\n", "\r\n") },
		"UTF-16, CRLF": func(text string) string { return testkit.UTF16(little, strings.ReplaceAll(text, "\n", "\r\n")) },
		"no last line": func(text string) string { return strings.TrimSuffix(text, "\n") },
		"more lines":   func(text string) string { return text + "\n# more\n" },
	} {
		auth := testkit.WriteFile(t, encode("us€r:pässword 😀\n"))
		token := testkit.WriteFile(t, encode("0123456789abcdef\n"))
		config := testkit.WriteFile(t, encode("# größer\ndeny = [\"private\"]\n"))
		s, err := combine([]map[string]given{{
			"auth-file":         {[]string{auth}, fromFlag},
			"status-token-file": {[]string{token}, fromFlag},
		}})
		if err != nil {
			t.Errorf("%q: got %v", encode("x\n"), err)
			continue
		}
		if c := s.Policy.Socks.Auth; c == nil || c.Username != "us€r" || c.Password != "pässword 😀" || s.Token != "0123456789abcdef" || s.AuthHasOuterSpace() {
			t.Errorf("%q: got %q, token %q", encode("x\n"), c, s.Token)
		}
		if said, err := readFile(config); err != nil || len(said["deny"].texts) != 1 || said["deny"].origin.line != 2 {
			t.Errorf("%q: got %v, %v", encode("x\n"), said, err)
		}
	}
}

// A space at either end may belong to a password, so it is kept and reported; from a token it is
// removed.
func TestSpacesInFiles(t *testing.T) {
	for pair, want := range map[string]bool{"user:password": false, "user:pass word": false, "user:password ": true, " user:password": true, "user:password\t": true, "user:password\u00a0": true, "user: password": false} {
		s := defaults()
		s.AuthFile = testkit.WriteFile(t, pair+"\r\n")
		if err := s.check(); err != nil {
			t.Errorf("%q: got %v", pair, err)
			continue
		}
		if c := s.Policy.Socks.Auth; c.Username+":"+c.Password != pair || s.AuthHasOuterSpace() != want {
			t.Errorf("%q: got %q, %v", pair, c, s.AuthHasOuterSpace())
		}
	}
	s := defaults()
	s.statusTokenFile = testkit.WriteFile(t, " 0123456789abcdef \r\n")
	if err := s.check(); err != nil || s.Token != "0123456789abcdef" {
		t.Errorf("got %q, %v", s.Token, err)
	}
}

// A byte order mark and a line end, as from a file, are removed from a flag or variable, too.
func TestValuesFromFiles(t *testing.T) {
	all, err := readEnvironment([]string{"\ufeffBIP324_PROXY_AUTH=user:password\r", "BIP324_PROXY_DENY=private,*:25\r\n"})
	if err != nil || all["auth"].texts[0] != "user:password" || len(all["deny"].texts) != 2 || all["deny"].texts[1] != "*:25" {
		t.Errorf("got %v, %v", all, err)
	}
	if got := lookUp("auth").split([]string{"\ufeffuser:pass \r\n"}); got[0] != "user:pass " {
		t.Errorf("got %q", got)
	}
	if _, err := readEnvironment([]string{"\ufeffBIP324_PROXY_UPSTRAEM=x"}); err == nil {
		t.Error("a misspelt name after a byte order mark is accepted")
	}
}
