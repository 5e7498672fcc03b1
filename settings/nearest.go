package settings

import (
	"strings"

	"github.com/xrash/smetrics"
)

// maxTypos is the maximum edit distance between a word and the name that it means.
const maxTypos = 3

// Nearest returns the name that word most probably means, or "" if none is similar enough. It
// ignores case, and treats _ as -.
func Nearest(word string, names []string) string {
	word = strings.ReplaceAll(strings.ToLower(word), "_", "-")
	nearest, least, most := "", maxTypos+1, 0.0
	for _, name := range names {
		longer := max(len(word), len(name))
		limit := min((longer+2)/3, len(word)/2, maxTypos) // a third, rounded up; little of a short word
		if longer-min(len(word), len(name)) > limit {
			continue // word may be huge
		}
		distance := smetrics.WagnerFischer(word, name, 1, 1, 1)
		similarity := smetrics.JaroWinkler(word, name, 0.7, 4) // between equals: wacth is watch, not auth
		if distance <= limit && (distance < least || distance == least && similarity > most) {
			nearest, least, most = name, distance, similarity
		}
	}
	return nearest
}

// isTypo reports whether at most two edits make name of word.
func isTypo(word, name string) bool {
	return max(len(word), len(name))-min(len(word), len(name)) <= 2 && smetrics.WagnerFischer(word, name, 1, 1, 1) <= 2
}

// didYouMean returns what to do about the unknown setting name: the end of an error.
// written returns a setting as the user would write it.
func didYouMean(name string, written func(*setting) string) string {
	var names []string
	for _, t := range table {
		names = append(names, t.name)
	}
	if t := lookUp(Nearest(name, names)); t != nil {
		return "did you mean " + written(t) + "?"
	}
	return "bip324-proxy --help lists all settings"
}
