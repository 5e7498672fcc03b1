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
		Usage:  "print the manual page; to read it: bip324-proxy man | man -l -",
		Action: func(c *cli.Context) error { return manual.Page(c.App.Writer, c.App) },
	})
}

func completionCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "completion",
		ArgsUsage: "SHELL",
		Usage:     "print the completions for a shell: bash, zsh, fish",
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			if c.NArg() != 1 || !slices.Contains(manual.Shells(), shell) {
				return usageError{fmt.Errorf("completion: name one shell, of %s", strings.Join(manual.Shells(), ", "))}
			}
			words := manual.Words{"completion": manual.Shells(), "--network": transport.NetworkNames()}
			maps.Copy(words, settings.Values())
			return manual.Completion(c.App.Writer, c.App, words, shell)
		},
	})
}
