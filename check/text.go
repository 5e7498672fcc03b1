package check

import (
	"fmt"
	"io"
	"strings"
)

// width is how long lines may be, if their words let them.
const width = 96

// WriteText writes the report for people: a line or more for each check.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, result := range r.Checks {
		head := fmt.Sprintf("%-8s %-14s ", result.State, result.Name)
		b.WriteString(fold(head, len(head), result.What))
		if result.Hint != "" {
			b.WriteString(fold(strings.Repeat(" ", len(head))+"-> ", len(head)+3, result.Hint))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fold breaks text into lines between its words. The first begins with head, the
// others are indented.
func fold(head string, indent int, text string) string {
	var b strings.Builder
	b.WriteString(head)
	column := indent
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
	return b.String()
}
