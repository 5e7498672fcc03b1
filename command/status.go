package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/terminal"
	"bip324proxy/settings"
	"bip324proxy/status"
	statusterminal "bip324proxy/status/terminal"
)

// usualPage is the address of the status page in the documentation.
const usualPage = "127.0.0.1:1325"

func statusCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "status",
		ArgsUsage: "[ADDRESS]",
		Usage:     "print what the running proxy does, as its status page shows it",
		Description: `ADDRESS is that of the running proxy's status page, HOST:PORT or unix:/PATH;
by default the setting --status, or 127.0.0.1:1325. If the page requires a token,
give it with --status-token-file or --status-token.`,
		Flags: append(settings.Flags(),
			&cli.BoolFlag{Name: "watch", Usage: "print it again every two seconds, until Ctrl-C"},
			&cli.BoolFlag{Name: "json", Usage: "print it in JSON, as /api/status has it"}),
		Action: runStatus,
	})
}

func runStatus(c *cli.Context) error {
	if c.Bool("json") && c.Bool("watch") {
		return usageError{errors.New("status: --json and --watch exclude each other; give one of them")}
	}
	address, err := onlyArgument(c)
	if err != nil {
		return err
	}
	s, err := settings.Load(c)
	if err != nil {
		return err
	}
	page := status.Client{Address: cmp.Or(address, s.Status, usualPage), Token: s.Token}
	if _, err := listen.Parse(page.Address); err != nil {
		return usageError{fmt.Errorf("status: %w", err)}
	}
	if c.Bool("watch") {
		ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		return statusterminal.Watch(ctx, c.App.Writer, func(ctx context.Context) (*status.Report, error) {
			report, _, err := page.Status(ctx)
			return report, err
		})
	}
	report, raw, err := page.Status(c.Context)
	switch {
	case err != nil && slices.Contains(s.Listen, page.Address):
		return fmt.Errorf("%w It is the address for clients; the status page is usually at %s", err, usualPage)
	case err != nil:
		return err
	}
	if c.Bool("json") {
		_, err := c.App.Writer.Write(terminal.JSON(raw))
		return err
	}
	return statusterminal.Print(c.App.Writer, report)
}
