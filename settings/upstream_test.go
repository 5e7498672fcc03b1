package settings

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bip324proxy/socks"
)

// withUpstreams returns the settings with --upstream, as the command line or the environment gives
// it.
func withUpstreams(texts ...string) (*Settings, error) {
	return combine([]map[string]given{{"upstream": {lookUp("upstream").split(texts), fromFlag}}})
}

// --upstream has a pattern, is repeatable, and means what it meant without a pattern.
func TestUpstreams(t *testing.T) {
	const tor, i2p, other = "socks5://127.0.0.1:9050", "socks5://127.0.0.1:4447", "socks5://user:p=w,d@127.0.0.1:1080"
	for _, c := range []struct {
		texts []string
		want  map[string]string // upstream by destination; "" is direct
	}{
		{[]string{""}, map[string]string{"a.test:1": "", "a.onion:1": ""}},
		{[]string{tor}, map[string]string{"a.test:1": "127.0.0.1:9050", "a.onion:1": "127.0.0.1:9050", "192.0.2.1:1": "127.0.0.1:9050"}},
		{[]string{other}, map[string]string{"a.test:1": "127.0.0.1:1080"}},
		{[]string{"socks5+unix:///run/tor=a,b/socks"}, map[string]string{"a.test:1": "/run/tor=a,b/socks"}},
		{[]string{"*=" + tor}, map[string]string{"a.test:1": "127.0.0.1:9050"}},
		{[]string{"*.onion=" + tor}, map[string]string{"a.test:1": "", "a.onion:1": "127.0.0.1:9050", "a.i2p:1": ""}},
		{[]string{"*.onion=" + tor, "*.i2p=" + i2p, "*=" + other}, map[string]string{"a.test:1": "127.0.0.1:1080", "a.onion:1": "127.0.0.1:9050", "a.i2p:1": "127.0.0.1:4447"}},
		{[]string{"*.onion=" + tor + ", *.i2p=" + i2p + "," + other}, map[string]string{"a.test:1": "127.0.0.1:1080", "a.onion:1": "127.0.0.1:9050", "a.i2p:1": "127.0.0.1:4447"}},
		{[]string{"[2001:db8::/32]:8333=" + tor, "2001:db8::/32=" + i2p}, map[string]string{"[2001:db8::1]:8333": "127.0.0.1:9050", "[2001:db8::1]:1": "127.0.0.1:4447", "a.test:8333": ""}},
		{[]string{"a.test=" + other, "*.onion=" + tor}, map[string]string{"a.test:1": "127.0.0.1:1080", "b.test:1": "", "a.onion:1": "127.0.0.1:9050"}},
	} {
		s, err := withUpstreams(c.texts...)
		if err != nil {
			t.Errorf("%q: %v", c.texts, err)
			continue
		}
		for dest, want := range c.want {
			addr, err := socks.ParseAddr(dest)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if u := s.Policy.UpstreamFor(addr); u != nil {
				got = u.Address
			}
			if got != want {
				t.Errorf("%q: %s goes through %q, want %q", c.texts, dest, got, want)
			}
		}
		var printed bytes.Buffer
		if err := s.WriteTOML(&printed); err != nil || strings.Contains(printed.String(), "p=w") {
			t.Errorf("%q: %v, printed as\n%s", c.texts, err, &printed)
		}
		file, err := parseFile("FILE", printed.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		again, err := combine([]map[string]given{file})
		if err != nil || len(again.Policy.UpstreamRoutes()) != len(s.Policy.UpstreamRoutes()) {
			t.Errorf("%q: %v, read again from\n%s", c.texts, err, &printed)
		}
	}
}

func TestWrongUpstreams(t *testing.T) {
	const tor = "socks5://127.0.0.1:9050"
	for _, c := range []struct{ texts, want string }{
		{strings.Repeat("*.onion="+tor+"|", 101), "102 are too many; must be at most 100"},
		{"tor", "--upstream: the URL of the upstream proxy is invalid; write socks5://"},
		{"*.onion", "not PATTERN=URL; write *.onion=socks5://127.0.0.1:9050"},
		{"*.onion " + tor, "not PATTERN=URL; write *.onion=socks5://127.0.0.1:9050"},
		{"*.onion" + tor, "not PATTERN=URL; write *.onion=socks5://127.0.0.1:9050"},
		{"*.onion=127.0.0.1:9050", "not PATTERN=URL; write *.onion=socks5://127.0.0.1:9050"},
		{"*.i2p=http://127.0.0.1:4444", "*.i2p: the URL of the upstream proxy is invalid; write socks5://"},
		{"*.i2p=socks5://127.0.0.1", "*.i2p: the upstream proxy needs a port"},
		{"onion=" + tor, `"onion" is taken as a host name; did you mean *.onion?`},
		{"a b=" + tor, `"a b" has an invalid host`},
		{"=" + tor, "the URL of the upstream proxy is invalid"},
		{"*.onion=" + tor + "|*.onion=" + tor, "the pattern *.onion is given twice; remove one"},
		{tor + "|" + tor, "the pattern * is given twice; remove one (a URL without a pattern is *=URL)"},
		{"*=" + tor + "|" + tor, "the pattern * is given twice"},
		{tor + "|*.onion=" + tor, "the pattern *.onion never matches, because * before it matches all of it; put *.onion first"},
		{"10.0.0.0/8=" + tor + "|10.1.0.0/16=" + tor, "the pattern 10.1.0.0/16 never matches, because 10.0.0.0/8 before it"},
		{"*.onion=" + tor + "|", "the URL of the upstream proxy is invalid"},
		{"user:hunter2=@127.0.0.1:9050", "the URL of the upstream proxy is invalid"},
		{"socks5:/user:hunter2=x://a", "the URL of the upstream proxy is invalid"},
		{"socks5//user:hunter2=socks5://127.0.0.1:1", "the URL of the upstream proxy is invalid"},
		{"user@hunter2=socks5://127.0.0.1:1", "the URL of the upstream proxy is invalid"},
	} {
		_, err := withUpstreams(strings.Split(c.texts, "|")...)
		if text := fmt.Sprint(err); err == nil || !strings.Contains(text, c.want) {
			t.Errorf("%q: got %v, want %q", c.texts, err, c.want)
		} else if strings.Contains(text, "hunter2") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}

// In a file, one URL may be a string, and all others are a list.
func TestUpstreamsInFile(t *testing.T) {
	for content, want := range map[string][]string{
		`upstream = ""`: nil,
		`upstream = []`: nil,
		`upstream = "socks5://u:a,*.b=c@127.0.0.1:1"`:                               {"* 127.0.0.1:1"},
		`upstream = ["*.onion=socks5://127.0.0.1:1"]`:                               {"*.onion 127.0.0.1:1"},
		"upstream = [\n'*.onion=socks5://127.0.0.1:1',\n'socks5://127.0.0.1:2',\n]": {"*.onion 127.0.0.1:1", "* 127.0.0.1:2"},
	} {
		file, err := parseFile("FILE", []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		s, err := combine([]map[string]given{file})
		if err != nil {
			t.Fatalf("%s: %v", content, err)
		}
		var got []string
		for _, r := range s.Policy.UpstreamRoutes() {
			got = append(got, r.To.String()+" "+r.Upstream.Address)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", content, got, want)
		}
	}
	for _, content := range []string{"upstream = 1", "upstream = [1]", "upstream = tor"} {
		if _, err := parseFile("FILE", []byte(content)); err == nil || err.Error() != "FILE:1: upstream: must be a string, in quotes, or a list of strings" {
			t.Errorf("%s: got %v", content, err)
		}
	}
}

// Every listener's address is compared with every upstream proxy, and the passwords of all in a file
// count.
func TestUpstreamsAreOthers(t *testing.T) {
	s, err := combine([]map[string]given{{"upstream": {[]string{"*.onion=socks5://127.0.0.1:1324"}, fromFlag}}})
	if err == nil || !strings.Contains(err.Error(), "--upstream: 127.0.0.1:1324 is this proxy's own address") {
		t.Errorf("got %v, %v", s, err)
	}
	link := []string{"127.0.0.1:0=[fe80::1%lo]:8333"}
	for upstream, valid := range map[string]bool{"*.onion=socks5://127.0.0.1:9050": true, "fe80::/10=socks5://127.0.0.1:9050": false} {
		_, err := combine([]map[string]given{{"upstream": {[]string{upstream}, fromFlag}, "peer": {link, fromFlag}}})
		if (err == nil) != valid {
			t.Errorf("%s: got %v", upstream, err)
		}
	}
}
