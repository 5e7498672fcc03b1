package settings

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// FuzzConfigFile: every file of settings is an error with a line number, or settings that
// are printed as a file with the same settings.
func FuzzConfigFile(f *testing.F) {
	for _, s := range []string{"", "listen = [\"127.0.0.1:1\"]\n", "grace = \"1s\"\ngrace = \"2s\"", "[a]\nb=1", "a.b = {c = [1]}", "auth = \"a:b\"\nupstream = 'socks5://u:p@h:1'",
		"v1-fallback = \"\"\"\nalways\"\"\"", "deny = [\n'a', # one\n\"\\u0062\",\n]\nmax-sessions = 0x10\nclient-rate = 1_000", "\xef\xbb\xbfpassthrough = 'deny'", "x", strings.Repeat("a=1\n", 9000), strings.Repeat("[", 3000), "allow = {" + strings.Repeat("a={", 3000), "\"\" = 1", "known-peers = '\\'", "allow = []", "upstream = ['*.onion=socks5://u:p=@h:1', 'socks5://h:2']"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		read := func(content []byte) (*Settings, error) {
			file, err := parseFile("FILE", content)
			if err == nil {
				if g := file["auth-file"]; len(g.texts) > 0 && g.texts[0] != "" {
					t.Skip("would read other files")
				}
				return combine([]map[string]given{file})
			}
			return nil, err
		}
		s, err := read(content)
		if err != nil {
			var line int
			if _, bad := fmt.Sscanf(err.Error(), "FILE:%d: ", &line); bad != nil || line < 1 || line > bytes.Count(content, []byte("\n"))+1 {
				t.Errorf("%q: error without a line number: %v", content, err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: error of several lines: %v", content, err)
			}
			return
		}
		var printed bytes.Buffer
		if err := s.WriteTOML(&printed); err != nil {
			t.Fatal(err)
		}
		again, err := read(printed.Bytes())
		if err != nil {
			t.Fatalf("%q is printed as\n%s%v", content, &printed, err)
		}
		for i, f := range s.inForce() {
			if g := again.inForce()[i]; f.note == "" && !reflect.DeepEqual(f.Value, g.Value) {
				t.Errorf("%s: first %v, then %v", f.Name, f.Value, g.Value)
			}
		}
	})
}
