package command

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"

	"bip324proxy/check"
	"bip324proxy/settings"
	"bip324proxy/transport"
)

func checkCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "check",
		ArgsUsage: "[HOST:PORT]",
		Usage:     "check that the proxy is up, can get out and leaks no names; or that the peer HOST:PORT speaks v2",
		Description: `Without HOST:PORT: check that the proxy is up and can get out, whether the
upstream proxy is Tor, who sees names, and whether --inbound speaks v2 and refuses
v1. This contacts only the proxy, its upstream proxy and the node behind it. With
HOST:PORT: connect to that peer as the proxy would, perform the v2 handshake, and
print the outcome, the session id and the peer's VERSION.

With --listeners: check only that the proxy answers, and contact nothing else. The
proxy neither counts nor logs that, so a supervisor may ask every few seconds.

With --redirected: check only that the rules of bip324-proxy transparent-rules hold
for the user that runs the command. It connects to 192.0.2.1 and 2001:db8::1, which
belong to nobody, and where the proxy itself answers.

Give the same settings as to the proxy, by flags, environment or --config. The exit
code is 0 if all checks passed, 1 if one failed, 2 if the input was invalid.`,
		Flags: append(settings.Flags(),
			&cli.StringFlag{Name: "network", Usage: "`NETWORK` of the peer: " + strings.Join(transport.NetworkNames(), ", ") + ", or a magic in hexadecimal (default: by its port)"},
			&cli.BoolFlag{Name: "v1", Usage: "if the peer does not speak v2, try v1, in plaintext"},
			&cli.BoolFlag{Name: "listeners", Usage: "check only that the proxy answers, as a container's health check"},
			&cli.BoolFlag{Name: "redirected", Usage: "check only that this user's connections are redirected to --transparent"},
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
	if c.Bool("redirected") && (peer != "" || c.Bool("listeners")) {
		return usageError{fmt.Errorf("check: --redirected is about this user's connections; remove it, or %s", cmp.Or(shown(peer), "--listeners"))}
	}
	if peer != "" && c.Bool("listeners") {
		return usageError{fmt.Errorf("check: --listeners is about the proxy; remove it or %q", peer)}
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
	switch {
	case peer != "":
		report = check.PeerReport(ctx, subjectOf(s), target)
	case c.Bool("redirected"):
		report = check.Redirected(ctx)
	case c.Bool("listeners"):
		report = check.Listeners(ctx, subjectOf(s))
	default:
		report = check.Proxy(ctx, subjectOf(s), s.Summary())
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	err = write(c, &report, report.WriteText)
	if failed := report.Count(check.Failed); err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d checks failed", failed, len(report.Checks))
	}
	return err
}

// subjectOf returns what to check of a proxy with these settings.
func subjectOf(s *settings.Settings) *check.Subject {
	subject := &check.Subject{
		Policy: s.Policy, Shapes: shapesToCheck(s), MaxSessions: s.MaxSessions, Descriptors: s.Descriptors(),
		Status: cmp.Or(s.Status, usualPage), Guessed: s.Status == "", Token: s.Token, InForce: s.Shown(),
	}
	for i, spec := range s.Listen {
		subject.Listeners = append(subject.Listeners, check.Listener{Address: spec, Spare: i > 0 && !s.IsGiven("listen")})
	}
	for _, p := range s.PeerListeners {
		subject.Listeners = append(subject.Listeners, check.Listener{Address: p.Listen, Peer: p.Peer})
	}
	for _, spec := range s.Transparent {
		_, activated := settings.Activated(spec)
		subject.Listeners = append(subject.Listeners, check.Listener{Address: spec, Transparent: true, Activated: activated})
	}
	for _, in := range s.Inbound {
		subject.Inbound = append(subject.Inbound, check.Inbound{Address: in.Listen, Activated: in.Activated != "", Node: in.Node, Magic: in.Magic})
	}
	return subject
}
