package command

import (
	"fmt"
	"io"
	"strings"

	"bip324proxy/settings"

	"github.com/urfave/cli/v2"
)

// newApp is the one definition of the program's commands and flags.
func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:    "bip324-proxy",
		Usage:   "SOCKS5 proxy that gives any Bitcoin client encrypted (BIP324, v2) peer connections",
		Version: versionText(),
		Flags:   settings.Flags(),
		Commands: []*cli.Command{
			command(&cli.Command{
				Name:   "demo",
				Usage:  "show what it does: a v1 client, the proxy and a v2 node on this machine",
				Action: func(c *cli.Context) error { return demo(c.Context, stdout) },
			}),
			command(&cli.Command{
				Name:   "config",
				Usage:  "check the settings and print them, as a file for --config with where each comes from",
				Flags:  append(settings.Flags(), &cli.BoolFlag{Name: "json", Usage: "print them in JSON"}),
				Action: printConfig,
			}),
			checkCommand(),
			statusCommand(),
			manCommand(),
			completionCommand(),
			versionCommand(),
		},
		Action:          serve,
		OnUsageError:    onUsageError,
		ExitErrHandler:  func(*cli.Context, error) {},
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
	}
}

// command makes c one of the program's: it takes no arguments, unless it says
// which in ArgsUsage.
func command(c *cli.Command) *cli.Command {
	c.OnUsageError = onUsageError
	if c.ArgsUsage == "" {
		c.Before = func(ctx *cli.Context) error {
			if ctx.Args().Present() {
				return usageError{fmt.Errorf("%s takes no arguments; leave out %q", c.Name, ctx.Args().First())}
			}
			return nil
		}
	}
	return c
}

// onlyArgument is the command's one argument, or empty if there is none.
func onlyArgument(c *cli.Context) (string, error) {
	switch extra := c.Args().Get(1); {
	case c.NArg() == 1 && c.Args().First() == "":
		return "", usageError{fmt.Errorf("%s: %s is empty; write it, or leave it out", c.Command.Name, c.Command.ArgsUsage)}
	case c.NArg() <= 1:
		return c.Args().First(), nil
	case strings.HasPrefix(extra, "-"):
		return "", usageError{fmt.Errorf("%s: write %s before %s: flags come first", c.Command.Name, extra, c.Args().First())}
	default:
		return "", usageError{fmt.Errorf("%s takes one argument, %s; leave out %q", c.Command.Name, c.Command.ArgsUsage, extra)}
	}
}

func onUsageError(_ *cli.Context, err error, _ bool) error {
	return usageError{fmt.Errorf("%w; see bip324-proxy --help", err)}
}
