package command

import (
	"encoding/json"

	"bip324proxy/settings"

	"github.com/urfave/cli/v2"
)

// printConfig runs the command config.
func printConfig(c *cli.Context) error {
	s, err := settings.Load(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		out := json.NewEncoder(c.App.Writer)
		out.SetIndent("", "  ")
		return out.Encode(s.Shown())
	}
	return s.WriteTOML(c.App.Writer)
}
