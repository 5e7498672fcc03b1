package status

import (
	"embed"
	"net/http"
)

//go:embed page
var page embed.FS

// pageFiles are the page's files, by path.
var pageFiles = map[string]pageFile{
	"/":           {"index.html", "text/html; charset=utf-8"},
	"/style.css":  {"style.css", "text/css; charset=utf-8"},
	"/page.js":    {"page.js", "text/javascript; charset=utf-8"},
	"/words.js":   {"words.js", "text/javascript; charset=utf-8"},
	"/rows.js":    {"rows.js", "text/javascript; charset=utf-8"},
	"/figures.js": {"figures.js", "text/javascript; charset=utf-8"},
	"/icon.svg":   {"icon.svg", "image/svg+xml"},
}

type pageFile struct{ name, contentType string }

func (f pageFile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", f.contentType)
	http.ServeFileFS(w, r, page, "page/"+f.name)
}
