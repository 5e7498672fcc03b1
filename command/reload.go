package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/listen"
	"bip324proxy/settings"
	"bip324proxy/transport/fallback"
)

// loading is how reading the settings anew came out.
type loading struct {
	settings *settings.Settings
	err      error
}

// loadAt loads the settings anew at each signal, until done is closed. A file that
// makes its reader wait keeps nobody else waiting.
func loadAt(signals <-chan os.Signal, c *cli.Context, done <-chan struct{}) <-chan loading {
	loaded := make(chan loading)
	go func() {
		for {
			select {
			case <-signals:
			case <-done:
				return
			}
			s, err := settings.Load(c)
			select {
			case loaded <- loading{s, err}:
			case <-done:
				return
			}
		}
	}()
	return loaded
}

// loadUnless loads the settings; there are none if stop is closed first.
func loadUnless(stop <-chan struct{}, c *cli.Context) (*settings.Settings, error) {
	loaded := make(chan loading, 1)
	go func() {
		s, err := settings.Load(c)
		loaded <- loading{s, err}
	}()
	select {
	case first := <-loaded:
		return first.settings, first.err
	case <-stop:
		return nil, nil
	}
}

// reload puts the new settings in force, but for those that need a restart. If
// anything is wrong with them the old ones stay. Sessions keep the policy that
// they began with.
func (s *service) reload(next loading) {
	before := s.settings()
	err := next.err
	if err == nil {
		err = checkListeners(next.settings, s.listeners)
	}
	if err == nil && s.peersLost != nil && next.settings.Policy.Dialer.Mode != fallback.Never {
		err = fmt.Errorf("v1-fallback: %v needs the known peers, and their file could not be used at the start; mend that, and restart: %w",
			next.settings.Policy.Dialer.Mode, s.peersLost)
	}
	var merged *settings.Settings
	var changed, restart []string
	if err == nil {
		merged, changed, restart, err = before.Merge(next.settings)
	}
	if err != nil {
		var wrong *settings.Error
		if !before.LogAddresses && errors.As(err, &wrong) {
			err = fmt.Errorf("%s is wrong; run bip324-proxy config to see why", wrong.Where)
		}
		s.log.Error("the configuration is not reloaded, and stays as it was", "err", err)
		return
	}
	s.current.Store(merged)
	s.setLevel()
	s.server.SetPolicy(s.policy())
	if slices.Contains(changed, "upstream") {
		go s.server.ProbeUpstream(context.Background()) // for 5 s at most
	}
	s.log.Info("configuration reloaded", "changed", names(changed))
	if len(restart) > 0 {
		s.log.Warn("what changed needs a restart, and stays as it was until then", "settings", names(restart))
	}
	s.warnOfLess(before)
	s.warnOfFiles()
	s.warnOfClients()
}

// warnOfLess warns of what new sessions may do that they might not before.
func (s *service) warnOfLess(before *settings.Settings) {
	now := s.settings()
	if before.Policy.Upstream != nil && now.Policy.Upstream == nil {
		s.log.Warn("there is no upstream proxy any more: new sessions connect directly, and peers see this machine's address")
	}
	if !now.Policy.Clients.Within(before.Policy.Clients) {
		s.log.Warn("more clients are admitted without a password than before")
	}
	more := now.Policy.Dialer.Mode > before.Policy.Dialer.Mode
	if more || now.Policy.CJDNSReachable && !before.Policy.CJDNSReachable && now.Policy.Dialer.Mode != fallback.Never {
		s.log.Warn("new sessions may speak plaintext v1 where they might not before", "v1_fallback", now.V1Fallback, "cjdnsreachable", now.Policy.CJDNSReachable)
	}
}

func names(all []string) string {
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

func (s *service) warnOfFiles() {
	for _, file := range s.settings().ExposedFiles() {
		s.log.Warn("every user of this machine can read the file, and it has a password; make it the file of the user that the proxy runs as (chown), and run chmod 600 on it", "file", file)
	}
	if s.settings().AuthHasOuterSpace() {
		s.log.Warn("the line in the file begins or ends with a space, which is part of the user name or password; if it should not be, remove it",
			"file", s.settings().AuthFile)
	}
}

// warnOfClients warns of networks in --clients that admit everybody.
func (s *service) warnOfClients() {
	for _, n := range s.settings().Policy.Clients.Everybody() {
		s.log.Warn("every program that reaches the proxy may use it without a password, from wherever; give --clients the networks of its clients", "clients", n.String())
	}
}

// warnOfIdleClients warns of a --clients that has no effect.
func (s *service) warnOfIdleClients() {
	if len(s.settings().Clients) > 0 && !slices.ContainsFunc(s.listeners, func(l listener) bool { return !listen.IsLocal(l.Addr()) }) {
		s.log.Warn("--clients has no effect, for all listeners are on this machine alone; to let others in, add --listen with an address that they reach",
			"clients", s.settings().Clients)
	}
}
