package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/terminal"
	"bip324proxy/status"
	"bip324proxy/top"
)

// usualPage is where the status page is as a rule.
const usualPage = "127.0.0.1:1325"

const addressHelp = `ADDRESS is where the running proxy has its status page, HOST:PORT or unix:/PATH;
without it that of the setting --status, or 127.0.0.1:1325. A token that it wants
is taken from --status-token and --status-token-file.`

func topCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "top",
		ArgsUsage:   "[ADDRESS]",
		Usage:       "show what a running proxy does, again every two seconds; q ends it",
		Description: addressHelp + "\n\nIf the output is no terminal, it is as the command status.",
		Flags:       flags(),
		Action:      runTop,
	})
}

func statusCommand() *cli.Command {
	return command(&cli.Command{
		Name:        "status",
		ArgsUsage:   "[ADDRESS]",
		Usage:       "print what a running proxy does, as its status page shows it",
		Description: addressHelp,
		Flags:       append(flags(), &cli.BoolFlag{Name: "json", Usage: "print it in JSON, as /api/status has it"}),
		Action:      runStatus,
	})
}

func runStatus(c *cli.Context) error {
	page, err := statusClient(c)
	if err != nil {
		return err
	}
	report, raw, err := page.Status(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		_, err := c.App.Writer.Write(terminal.JSON(raw))
		return err
	}
	return printStatus(c.App.Writer, report)
}

func printStatus(out io.Writer, report *status.Report) error {
	width, _ := terminal.Size(out)
	_, err := io.WriteString(out, strings.Join(top.Render(report, width, 0), "\n")+"\n")
	return err
}

func runTop(c *cli.Context) error {
	out, ok := c.App.Writer.(*os.File)
	if !ok || !terminal.Is(out) || !terminal.Is(os.Stdin) {
		return runStatus(c)
	}
	page, err := statusClient(c)
	if err != nil {
		return err
	}
	if _, _, err := page.Status(c.Context); err != nil { // before the screen is taken over
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	screen, err := terminal.Open(os.Stdin, out)
	if err != nil {
		return err
	}
	defer screen.Close()
	return top.Live(ctx, screen, func(ctx context.Context) (*status.Report, error) {
		report, _, err := page.Status(ctx)
		return report, err
	})
}

// statusClient asks the status page that the command is about.
func statusClient(c *cli.Context) (page status.Client, err error) {
	address, err := onlyArgument(c)
	if err != nil {
		return page, err
	}
	s, err := load(c)
	if err != nil {
		return page, err
	}
	page = status.Client{Address: cmp.Or(address, s.status, usualPage), Token: s.token}
	if _, err := listen.Parse(page.Address); err != nil {
		return page, usageError{fmt.Errorf("%s: %w", c.Command.Name, err)}
	}
	return page, nil
}
