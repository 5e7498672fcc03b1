package status

import (
	"bytes"
	"embed"
	"net/http"
	"time"
)

//go:embed page
var page embed.FS

// pageFiles are the page's, by path.
var pageFiles = map[string]pageFile{
	"/":           {"index.html", "text/html; charset=utf-8"},
	"/style.css":  {"style.css", "text/css; charset=utf-8"},
	"/page.js":    {"page.js", "text/javascript; charset=utf-8"},
	"/words.js":   {"words.js", "text/javascript; charset=utf-8"},
	"/rows.js":    {"rows.js", "text/javascript; charset=utf-8"},
	"/figures.js": {"figures.js", "text/javascript; charset=utf-8"},
	"/icon.svg":   {"icon.svg", "image/svg+xml"},
}

// pageFile is one of package page's files, and its type.
type pageFile struct{ name, contentType string }

func (f pageFile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := page.ReadFile("page/" + f.name)
	if err != nil { // cannot be: the tests ask for each
		say(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", f.contentType)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(b))
}
