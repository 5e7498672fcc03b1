// Package terminal prepares text for terminals: lines that fit, without anything in them that
// a terminal would obey.
package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Clean returns text with a question mark for everything in it that does not print,
// or that would move the cursor or change the direction of writing.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// JSON returns a document with everything escaped that is not ASCII, which JSON has in strings
// only: the meaning is the same, and there is nothing in it that a terminal would obey.
func JSON(document []byte) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(string(document))) {
		if c < 0x7f {
			b = append(b, byte(c))
		} else {
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return b
}

// Cut returns text cut to width characters, the last two of which are dots if it was longer.
func Cut(text string, width int) string {
	switch n := utf8.RuneCountInString(text); {
	case n <= width:
		return text
	case width <= 2:
		return ".."[:max(width, 0)]
	}
	return string([]rune(text)[:width-2]) + ".."
}

// Advise returns what is to be said, folded behind head, and the hint below it, if there is one.
func Advise(head, what, hint string, width int) []string {
	lines := Fold(head, Clean(what), width)
	if hint != "" {
		head = strings.Repeat(" ", utf8.RuneCountInString(head)) + "-> "
		lines = append(lines, Fold(head, Clean(hint), width)...)
	}
	return lines
}

// Fold breaks text between words into lines of at most width characters; a longer word has a
// line to itself. The first line begins with head, the others are indented by its length. With
// width 0 there is one line.
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

// IsPlain reports whether the text has only ASCII letters, digits and the characters in also. If
// these mean nothing to a shell, the text is safe in a command to copy.
func IsPlain(text, also string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(also, r)
	})
}
