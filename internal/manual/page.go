package manual

import (
	_ "embed"
	"io"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
)

//go:embed page.roff
var page string

// Page writes the manual page, in section 1. Setup or Run must have set up app.
func Page(w io.Writer, app *cli.App) error {
	t, err := template.New("page").Funcs(template.FuncMap{"roff": roff, "usage": usage}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, describe(app, nil))
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, `^`, `\(ha`, `~`, `\(ti`, "`", `\(ga`)

// roff escapes text for man(1), except at the beginning of a line.
func roff(text string) string { return roffEscapes.Replace(text) }

// usage returns a flag's usage with the name of its value in italics.
func usage(text string) string {
	before, rest, ok := strings.Cut(text, "`")
	if value, after, ok2 := strings.Cut(rest, "`"); ok && ok2 {
		return `\&` + roff(before) + `\fI` + roff(value) + `\fR` + roff(after)
	}
	return `\&` + roff(text)
}
