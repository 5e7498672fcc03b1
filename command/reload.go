package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/listen"
	"bip324proxy/settings"
	"bip324proxy/transport/fallback"
)

// loading is the outcome of reading the settings.
type loading struct {
	settings *settings.Settings
	err      error
}

// loadings reads the settings at once and again at each SIGHUP, until done is closed.
// A file that keeps its reader waiting, such as a pipe, keeps nothing else waiting.
func (s *service) loadings(c *cli.Context, done <-chan struct{}) <-chan loading {
	loaded := make(chan loading)
	go func() {
		for {
			next, err := settings.Load(c)
			select {
			case loaded <- loading{next, err}:
			case <-done:
				return
			}
			select {
			case <-s.reloads:
			case <-done:
				return
			}
		}
	}()
	return loaded
}

// reload puts the new settings in force, except those that need a restart. If anything
// is wrong with them, the current ones stay. Sessions keep the policy they began with.
func (s *service) reload(next *settings.Settings, err error) {
	before := s.settings()
	var merged *settings.Settings
	var changed, restart []string
	if err == nil {
		err = s.checkReload(next)
	}
	if err == nil {
		merged, changed, restart, err = before.Merge(next)
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

// checkReload returns an error if the settings do not fit what is open.
func (s *service) checkReload(next *settings.Settings) error {
	if mode := next.Policy.Dialer.Mode; s.peersLost != nil && mode != fallback.Never {
		return fmt.Errorf("v1-fallback: %v needs the known peers, and their file could not be used at the start; mend that, and restart: %w", mode, s.peersLost)
	}
	return checkListeners(next, s.listeners)
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
