// Package terminal is what is printed to people: lines that fit, nothing in them
// that a terminal would obey, and a screen that is drawn again and again.
package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Clean returns text with a question mark for everything in it that does not print,
// or that would move the cursor or turn the writing around.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// JSON returns a document with everything escaped that is not ASCII, which JSON has
// in strings only: the document says the same, and a terminal obeys nothing in it.
func JSON(document []byte) []byte {
	var b []byte
	for _, r := range string(document) {
		switch {
		case r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}

// Cut returns text with at most width characters, the last two of which are dots
// where something is missing.
func Cut(text string, width int) string {
	switch n := utf8.RuneCountInString(text); {
	case n <= width:
		return text
	case width <= 2:
		return ".."[:max(width, 0)]
	}
	return string([]rune(text)[:width-2]) + ".."
}

// Fold breaks text into lines of at most width characters, if its words let it. The
// first begins with head, and the others are indented as far as that reaches. Width
// 0 leaves it one line.
func Fold(head, text string, width int) []string {
	indent := utf8.RuneCountInString(head)
	lines := []string{}
	line, column := []byte(head), indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case width > 0 && column+1+n > width:
			lines = append(lines, string(line))
			line, column = append(line[:0], strings.Repeat(" ", indent)...), indent
		default:
			line = append(line, ' ')
			column++
		}
		line = append(line, word...)
		column += n
	}
	return append(lines, string(line))
}
