package setup

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"bip324proxy/internal/terminal"
)

// width is the longest line, in characters, except for lines to copy.
const width = 96

// WriteText writes the report as text: for each part what was found, and then the lines.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, p := range r.Parts {
		head := fmt.Sprintf("%-8s %-14s ", p.State, p.Name)
		lines := terminal.Advise(head, p.What, "", width)
		for _, hint := range p.Hints {
			lines = append(lines, terminal.Advise(strings.Repeat(" ", len(head)), "", hint, width)[1:]...)
		}
		b.WriteString(strings.Join(lines, "\n") + "\n")
		p.writeLines(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Part) writeLines(b *strings.Builder) {
	if len(p.Remove)+len(p.Add) == 0 {
		return
	}
	say := func(text string) { b.WriteString("\n  " + terminal.Clean(text) + "\n\n") }
	comment := func(text string) {
		for _, line := range terminal.Fold("    # ", text, width) {
			b.WriteString("    # " + strings.TrimPrefix(strings.TrimSpace(line), "# ") + "\n")
		}
	}
	where := ""
	for _, l := range p.Remove {
		if at := cmp.Or(l.File, "the command line"); at != where {
			say("Remove from " + at + ":")
			where = at
		}
		comment(l.Why)
		text := "    " + terminal.Clean(l.Text)
		if l.Number > 0 {
			text = fmt.Sprintf("%s        (line %d)", text, l.Number)
		}
		b.WriteString(text + "\n")
	}
	if len(p.Add) > 0 {
		switch {
		case p.File == "":
			say("Add to the command line:")
		case p.Create:
			say("Create " + p.File + " with:")
		case p.AtEnd:
			say("Write at the end of " + p.File + ":")
		default:
			say("Write at the top of " + p.File + ", before any [section]:")
		}
	}
	for _, l := range p.Add {
		if l.Why != "" && p.File != "" {
			comment(l.Why)
		}
		b.WriteString("    " + terminal.Clean(l.Text) + "\n")
	}
	undo := "Restart " + p.Name + ", and run this again: it then reports the sessions. To undo, "
	switch {
	case len(p.Add) == 0:
		undo += "restore what you removed,"
	case len(p.Remove) == 0:
		undo += "remove these lines"
	default:
		undo += "remove these lines, restore those that you removed,"
	}
	b.WriteString("\n" + strings.Join(terminal.Fold("  ", undo+" and restart it.", width), "\n") + "\n\n")
}
