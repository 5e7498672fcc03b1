//go:build !windows

package command

import (
	"errors"

	"github.com/urfave/cli/v2"
)

// serviceCommand returns a hidden command that only says where the documentation of services is.
func serviceCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "service",
		ArgsUsage: "ACTION",
		Usage:     "exists only on Windows; for systemd and launchd see docs/install.md",
		Hidden:    true,
		Action: func(*cli.Context) error {
			return usageError{errors.New("service exists only on Windows; for systemd and launchd see docs/install.md")}
		},
	})
}
