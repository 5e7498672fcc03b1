package command

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/terminal"
	"bip324proxy/settings"
)

func configCommand() *cli.Command {
	return command(&cli.Command{
		Name:   "config",
		Usage:  "check the settings and print them as a --config file, with their sources",
		Flags:  append(settings.Flags(), &cli.BoolFlag{Name: "json", Usage: "print them in JSON"}),
		Action: runConfig,
	})
}

func runConfig(c *cli.Context) error {
	s, err := settings.Load(c)
	if err != nil {
		return err
	}
	return write(c, s.Shown(), s.WriteTOML)
}

// write writes v: with --json as indented JSON that is safe in a terminal, else as text does.
func write(c *cli.Context, v any, text func(io.Writer) error) error {
	if !c.Bool("json") {
		return text(c.App.Writer)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := c.App.Writer.Write(terminal.JSON(b.Bytes()))
	return err
}
