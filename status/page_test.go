package status

import (
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bip324proxy/proxy"
)

// All files of the page are served, with types that browsers accept, and no others.
func TestPageFiles(t *testing.T) {
	entries, err := fs.ReadDir(page, "page")
	if err != nil || len(entries) != len(pageFiles) {
		t.Errorf("%d files, %d are served, %v", len(entries), len(pageFiles), err)
	}
	for path, f := range pageFiles {
		r := get(new(Server), loopback, "GET", path, "127.0.0.1:1325")
		body, _ := io.ReadAll(r.Body)
		if want, err := page.ReadFile("page/" + f.name); r.StatusCode != 200 || string(body) != string(want) || len(want) == 0 || err != nil {
			t.Errorf("%s: got %d, %d bytes, %v", path, r.StatusCode, len(body), err)
		}
		ending := f.name[strings.LastIndexByte(f.name, '.'):]
		want := map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[ending]
		if got := r.Header.Get("Content-Type"); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
		if r := get(new(Server), loopback, "HEAD", path, "127.0.0.1:1325"); r.StatusCode != 200 {
			t.Errorf("HEAD %s: got %d", path, r.StatusCode)
		}
	}
}

// The page requests nothing from other hosts, and has nothing that needs a laxer policy: no script
// or style within the HTML, no text turned into markup.
func TestPageIsItsOwn(t *testing.T) {
	outside := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]|@import|\burl\(`)
	inline := regexp.MustCompile(`(?i)<script(>| [^>]*[^>"]>)|<style|\sstyle=|\son[a-z]+=|javascript:`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|createContextualFragment|DOMParser`)
	loaded := regexp.MustCompile(`(?:src|href)="(/[^"]*)"|from "\.(/[^"]+)"`)
	for path, f := range pageFiles {
		b, err := page.ReadFile("page/" + f.name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "http://www.w3.org/2000/svg", "") // a name, not an address
		if found := outside.FindAllString(text, -1); found != nil {
			t.Errorf("%s: external reference %q", path, found)
		}
		if found := inline.FindAllString(text, -1); path == "/" && found != nil {
			t.Errorf("%s: got %q", path, found)
		}
		if found := markup.FindAllString(text, -1); found != nil {
			t.Errorf("%s: got %q", path, found)
		}
		for _, m := range loaded.FindAllStringSubmatch(text, -1) {
			if to := m[1] + m[2]; !slices.Contains(paths, to) {
				t.Errorf("%s: %s is not served", path, to)
			}
		}
	}
}

// The page has words for each kind.
func TestPageHasWords(t *testing.T) {
	words, err := page.ReadFile("page/words.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range slices.Concat(proxy.RefusalKinds, proxy.InboundRefusalKinds, proxy.FallbackCauses, proxy.Transports, proxy.Shapes, []string{"asking", "dialing", "granted", "handshake"}) {
		if !regexp.MustCompile(`(?m)^\t` + kind + `: "`).Match(words) {
			t.Errorf("words.js lacks words for %s", kind)
		}
	}
}
