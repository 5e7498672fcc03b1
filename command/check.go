package command

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"

	"bip324proxy/check"
	"bip324proxy/internal/terminal"
	"bip324proxy/settings"
	"bip324proxy/transport"
)

func checkCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "check",
		ArgsUsage: "[HOST:PORT]",
		Usage:     "say whether the proxy is up, can get out and leaks no names; or whether the peer HOST:PORT speaks v2",
		Description: `Without HOST:PORT: is the proxy up, is there a way out, is the upstream proxy a
Tor, who gets to see names. It asks the proxy and its upstream proxy, and nobody
else. With HOST:PORT: connect to that peer as the proxy would, perform the v2
handshake, and print its outcome, the session id and what the peer says of itself.

Give the settings that the proxy runs with, in the same way: flags, environment,
--config. The exit code is 0 if nothing failed, 1 if something did, 2 if the input
was wrong.`,
		Flags: append(settings.Flags(),
			&cli.StringFlag{Name: "network", Usage: "`NETWORK` of the peer: " + strings.Join(transport.NetworkNames(), ", ") + ", or a magic in hexadecimal (default: by its port)"},
			&cli.BoolFlag{Name: "v1", Usage: "ask a peer without v2 in v1, in plaintext, too"},
			&cli.BoolFlag{Name: "json", Usage: "print the outcome in JSON"}),
		Action: runCheck,
	})
}

func runCheck(c *cli.Context) error {
	peer, err := onlyArgument(c)
	if err != nil {
		return err
	}
	if peer == "" && (c.IsSet("network") || c.IsSet("v1")) {
		return usageError{errors.New("check: --network and --v1 need a peer; add its HOST:PORT")}
	}
	var target check.Target
	if peer != "" {
		if target, err = check.ParseTarget(peer, c.String("network")); err != nil {
			return usageError{fmt.Errorf("check: %w", err)}
		}
		target.V1 = c.Bool("v1")
	}
	s, err := settings.Load(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt)
	defer stop()
	var report check.Report
	if peer != "" {
		report = check.PeerReport(ctx, subjectOf(s), target)
	} else {
		report = check.Proxy(ctx, subjectOf(s), s.Summary())
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return printReport(c, &report)
}

// subjectOf returns what there is to check of a proxy with these settings.
func subjectOf(s *settings.Settings) *check.Subject {
	subject := &check.Subject{
		Policy: s.Policy, MaxSessions: s.MaxSessions, Descriptors: s.Descriptors(),
		Status: cmp.Or(s.Status, usualPage), Guessed: s.Status == "", Token: s.Token, InForce: s.Shown(),
	}
	for i, spec := range s.Listen {
		subject.Listeners = append(subject.Listeners, check.Listener{Address: spec, Spare: i > 0 && !s.IsGiven("listen")})
	}
	for _, p := range s.PeerListeners {
		subject.Listeners = append(subject.Listeners, check.Listener{Address: p.Listen, Peer: p.Peer})
	}
	return subject
}

func printReport(c *cli.Context, r *check.Report) error {
	out := c.App.Writer
	if c.Bool("json") {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			return err
		}
		if _, err := out.Write(terminal.JSON(b.Bytes())); err != nil {
			return err
		}
	} else if err := r.WriteText(out); err != nil {
		return err
	}
	if failed := r.Count(check.Failed); failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(r.Checks))
	}
	return nil
}
