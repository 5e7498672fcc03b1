package settings

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"bip324proxy/transport"
)

// listeners are settings with listeners of each kind.
func listeners() map[string]given {
	return map[string]given{
		"listen":          {[]string{"127.0.0.1:1324", "unix:/run/a?mode=0660&group=0"}, fromFlag},
		"peer":            {[]string{"127.0.0.1:38401=192.0.2.1:38333"}, fromFlag},
		"inbound":         {[]string{"0.0.0.0:8333=127.0.0.1:8335", "systemd:tor=127.0.0.1:8335"}, fromFlag},
		"inbound-network": {[]string{"mainnet"}, fromFlag},
	}
}

// withShapes returns the settings of listeners with --shape, as the command line or the environment
// gives it.
func withShapes(texts ...string) (*Settings, error) {
	all := listeners()
	all["shape"] = given{lookUp("shape").split(texts), fromFlag}
	return combine([]map[string]given{all})
}

// --shape is for all clients or for one listener, is repeatable, and is printed as a file that means
// the same.
func TestShapes(t *testing.T) {
	const socket = "unix:/run/a?mode=0660&group=0"
	for _, c := range []struct {
		texts   []string
		clients string
		want    map[string]string // by listener
	}{
		{nil, "off", nil},
		{[]string{""}, "off", nil},
		{[]string{"off"}, "off", nil},
		{[]string{"cover,every=4s,cell=2048"}, "cover,cell=2048,every=4s", nil},
		{[]string{"0.0.0.0:8333=tunnel,cell=512"}, "off", map[string]string{"0.0.0.0:8333": "tunnel,cell=512"}},
		{[]string{"cover,every=4s, 0.0.0.0:8333=tunnel,fakes=1/5m,cell=512,127.0.0.1:38401=off"}, "cover,every=4s",
			map[string]string{"0.0.0.0:8333": "tunnel,cell=512,fakes=5m", "127.0.0.1:38401": "off"}},
		{[]string{"127.0.0.1:1324=core", "pad,bucket=2048"}, "pad,bucket=2048", map[string]string{"127.0.0.1:1324": "core"}},
		{[]string{"systemd:tor=pad", socket + "=cover,budget=10,pad"}, "pad", map[string]string{"systemd:tor": "pad", socket: "cover,budget=10"}},
	} {
		s, err := withShapes(c.texts...)
		if err != nil {
			t.Errorf("%q: %v", c.texts, err)
			continue
		}
		want := func(s *Settings) {
			t.Helper()
			got := make(map[string]string)
			for listener, shape := range s.Shapes {
				got[listener] = shape.String()
			}
			if clients := s.Policy.Shape.String(); clients != c.clients || !maps.Equal(got, c.want) {
				t.Errorf("%q: %s for clients and %v, want %s and %v", c.texts, clients, got, c.clients, c.want)
			}
		}
		want(s)
		var printed bytes.Buffer
		if err := s.WriteTOML(&printed); err != nil {
			t.Fatal(err)
		}
		file, err := parseFile("FILE", printed.Bytes())
		if err != nil {
			t.Fatalf("%q: %v in\n%s", c.texts, err, &printed)
		}
		if s, err = combine([]map[string]given{file}); err != nil {
			t.Errorf("%q: %v in\n%s", c.texts, err, &printed)
			continue
		}
		want(s)
	}
}

// The error about an invalid --shape says which part is wrong, and what to write.
func TestInvalidShapes(t *testing.T) {
	const socket = "unix:/run/a?mode=0660&group=0"
	const all = "127.0.0.1:1324, unix:/run/a?mode=0660&group=0, 127.0.0.1:38401, 0.0.0.0:8333 or systemd:tor"
	for text, want := range map[string]string{
		"covr":                              `"covr" is invalid; must be off, core, pad, cover or tunnel; did you mean cover?`,
		"yes":                               `"yes" is invalid; must be off, core, pad, cover or tunnel`,
		"Pad":                               `"Pad" is invalid; must be off, core, pad, cover or tunnel; did you mean pad?`,
		"cover,cel=512":                     `"cel" is not a key of cover; must be bucket, cell, every or budget; did you mean cell?`,
		"pad,every=1s":                      `"every" is not a key of pad; must be bucket`,
		"core,cell=512":                     `"cell" is invalid; core has no keys`,
		"cover,cell=100":                    "cell=100 is invalid; must be from 256 to 16384",
		"cover,cell=1k":                     "cell=1k is invalid; must be a positive integer",
		"tunnel,every=1ms":                  "every=1ms is invalid; must be from 100ms to 1m0s",
		"cover,cell=512,cell=512":           "cell is given twice",
		"cover,cell":                        `"cell" is invalid; must be key=value`,
		"127.0.0.1:1324=":                   `"" is invalid; must be off, core, pad, cover or tunnel`,
		"127.0.0.1:1324=covr":               `"covr" is invalid`,
		"127.0.0.1:1325=pad":                `"127.0.0.1:1325" is not the address of a listener; must be ` + all + ", as in --listen, --peer, --transparent or --inbound; did you mean 127.0.0.1:1324?",
		socket:                              "is a listener without a shape; write " + socket + "=SHAPE",
		"0.0.0.0:8333":                      `"0.0.0.0:8333" is a listener without a shape; write 0.0.0.0:8333=SHAPE, such as 0.0.0.0:8333=pad`,
		"0.0.0.0:8333=core":                 "core has no effect at 0.0.0.0:8333, an address of --inbound",
		"systemd:tor=core":                  "core has no effect at systemd:tor",
		"pad,cover":                         `"cover" is the second shape without a LISTENER; remove one, or write LISTENER=cover`,
		"0.0.0.0:8333=pad,0.0.0.0:8333=off": `"0.0.0.0:8333=off" is the second shape of this listener; remove one`,
	} {
		if _, err := withShapes(text); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "--shape: ") {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	alone := map[string]given{"listen": {[]string{"127.0.0.1:1"}, fromFlag}, "shape": {[]string{"[::1]:1324=pad"}, fromFlag}}
	if _, err := combine([]map[string]given{alone}); err == nil || !strings.Contains(err.Error(), "must be 127.0.0.1:1, as in") {
		t.Errorf("got %v", err)
	}
}

// The default listeners can have a shape, too.
func TestShapesOfDefaults(t *testing.T) {
	s, err := combine([]map[string]given{{"shape": {[]string{"[::1]:1324=pad"}, fromFlag}}})
	if err != nil || s.Shapes["[::1]:1324"].Mode != transport.ShapePad {
		t.Errorf("got %v, %v", s, err)
	}
}
