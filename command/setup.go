package command

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/terminal"
	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/settings"
	"bip324proxy/setup"
	"bip324proxy/socks"
	"bip324proxy/status"
)

func setupCommand() *cli.Command {
	return command(&cli.Command{
		Name:      "setup",
		ArgsUsage: "[FILE]",
		Usage:     "find the Bitcoin programs on this machine, and print what to write into their configuration files",
		Description: `It changes nothing, and contacts only loopback. Run it again after you have restarted a
program: it then reports the sessions of each, from the proxy's status page. With FILE, such
as bitcoin.conf, it plans only the program that reads that file.

Give the same settings as to the proxy, by flags, environment or --config. The exit code is
0 if every running program is configured and has sessions, 1 if something is left to do, 2 if the
input was invalid.`,
		Flags:  append(settings.Flags(), &cli.BoolFlag{Name: "json", Usage: "print it in JSON"}),
		Action: runSetup,
	})
}

func runSetup(c *cli.Context) error {
	file, err := onlyArgument(c)
	if err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Dir(file)); file != "" && (err != nil || !info.IsDir()) {
		return usageError{fmt.Errorf("setup: the directory of %s does not exist", file)}
	}
	s, err := settings.Load(c)
	if err != nil {
		return err
	}
	page := status.Client{Address: cmp.Or(s.Status, usualPage), Token: s.Token}
	p := setup.Proxy{Listen: s.Listen, Page: page.Address}
	if s.Policy.Upstream != nil {
		p.Upstream = s.Policy.Upstream.String()
	} else if u := s.Policy.UpstreamFor(anyOnion); u != nil {
		p.Onion = u.String()
	}
	if address, _ := listen.Parse(page.Address); !listen.IsLocal(address.NetAddr()) {
		p.Err = fmt.Errorf("the status page at %s is not on loopback, and setup contacts nothing else; set --status to a loopback address", page.Address)
	} else {
		p.Status, _, p.Err = page.Status(c.Context)
	}
	if p.Status != nil {
		listening := listenOf(p.Status, p.Listen)
		if !s.IsGiven("listen") {
			p.Listen = listening
		} else if !slices.ContainsFunc(listening, func(spec string) bool { return slices.Contains(p.Listen, spec) }) {
			p.Err = fmt.Errorf("the status page at %s is that of another proxy, at %s; set --status to this one's", page.Address, strings.Join(listening, ", "))
			p.Status = nil
		}
	}
	for _, in := range s.Inbound {
		p.Nodes = append(p.Nodes, in.Node.Address)
	}
	if p.Status != nil {
		if p.Status.Inbound != nil {
			for _, l := range p.Status.Inbound.Listeners {
				p.Nodes = append(p.Nodes, l.Node)
			}
		}
		p.Upstream, p.Onion = "", ""
		if p.Status.Upstream != nil {
			p.Upstream = p.Status.Upstream.Address
		} else {
			p.Onion = onionOf(p.Status.Routes)
		}
	}
	report, err := setup.Look(p, file)
	if err != nil {
		return usageError{fmt.Errorf("setup: %w", err)}
	}
	err = write(c, report, report.WriteText)
	if err == nil && !report.OK {
		err = errors.New("something is left to do")
	}
	return err
}

// anyOnion is a peer in .onion.
var anyOnion = socks.Addr{Host: "any.onion", Port: 8333}

// onionOf returns the URL of the first upstream proxy of a running proxy that is for .onion.
func onionOf(routes []proxy.Upstream) string {
	for _, r := range routes {
		if rule, err := rules.ParseRule(r.To); err == nil && rule.Matches(anyOnion) {
			return r.Address
		}
	}
	return ""
}

// listenOf returns the addresses that a running proxy listens on, without those of --peer; or
// given, if its report has none.
func listenOf(report *status.Report, given []string) []string {
	for _, setting := range report.Settings {
		all, _ := setting.Value.([]any)
		var listening []string
		for _, spec := range all {
			text, _ := spec.(string)
			address, err := listen.Parse(text)
			if err == nil && address.NetAddr() != nil && !address.AnyPort() && terminal.Clean(text) == text { // it is to be written into files
				listening = append(listening, text)
			}
		}
		if setting.Name == "listen" && len(listening) > 0 {
			return listening
		}
	}
	return given
}
