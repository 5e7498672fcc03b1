package command

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/manual"
	"bip324proxy/settings"
	"bip324proxy/transport"
)

func manCommand() *cli.Command {
	return command(&cli.Command{
		Name:   "man",
		Usage:  "print the manual page; read it with | man -l -",
		Action: func(c *cli.Context) error { return manual.Page(c.App.Writer, c.App) },
	})
}

func completionCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "completion",
		ArgsUsage: "SHELL",
		Usage:     "print the completions for bash, zsh or fish",
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			if c.NArg() != 1 || !slices.Contains(manual.Shells(), shell) {
				return usageError{fmt.Errorf("completion: name one shell, of %s", strings.Join(manual.Shells(), ", "))}
			}
			words := manual.Words{"completion": manual.Shells(), "help": commandNames(c.App), "--network": transport.NetworkNames(), "--fence": fences}
			maps.Copy(words, settings.Values())
			return manual.Completion(c.App.Writer, c.App, words, shell)
		},
	})
}
