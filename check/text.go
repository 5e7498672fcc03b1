package check

import (
	"fmt"
	"io"
	"strings"

	"bip324proxy/internal/terminal"
)

// width is the longest line, in characters, unless a word is longer.
const width = 96

// WriteText writes the report as text, at least one line for each check.
func (r *Report) WriteText(w io.Writer) error {
	var lines []string
	for _, result := range r.Checks {
		head := fmt.Sprintf("%-8s %-14s ", result.State, result.Name)
		lines = append(lines, terminal.Advise(head, result.What, result.Hint, width)...)
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}
