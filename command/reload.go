package command

import (
	"cmp"
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

// loadings reads the settings in the background, at once and again at each SIGHUP, until
// done is closed: a file may block its reader, as a pipe does.
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
			err = fmt.Errorf("%s is invalid; run bip324-proxy config to see why", wrong.Where)
		}
		s.log.Error("reload failed; keeping the current configuration", "err", err)
		return
	}
	s.current.Store(merged)
	s.setLevel()
	s.server.SetPolicy(s.policy())
	if slices.Contains(changed, "upstream") {
		go s.server.ProbeUpstream(context.Background()) // for 5 s at most
	}
	s.log.Info("configuration reloaded", "changed", cmp.Or(strings.Join(changed, ", "), "nothing"))
	if slices.Contains(changed, "shape") {
		s.logShapes()
	}
	if len(restart) > 0 {
		s.log.Warn("these changes take effect after a restart", "settings", strings.Join(restart, ", "))
	}
	s.warnOfLess(before)
	s.warnOfSettings()
	s.warnOfBind()
}

// checkReload returns an error if next does not fit the open listeners and known peers.
func (s *service) checkReload(next *settings.Settings) error {
	if mode := next.Policy.Dialer.Mode; s.peersLost != nil && mode != fallback.Never {
		return fmt.Errorf("v1-fallback: %v needs the file of known peers, which could not be opened at the start; fix that and restart: %w", mode, s.peersLost)
	}
	if next.Policy.Bind != s.settings().Policy.Bind {
		if err := checkBind(next); err != nil {
			return err
		}
	}
	return checkListeners(next, s.listeners)
}

// warnOfLess warns if new sessions have less protection than before.
func (s *service) warnOfLess(before *settings.Settings) {
	now := s.settings()
	if direct := now.DirectSince(before); direct != nil {
		var args []any
		if now.LogAddresses {
			args = []any{"destinations", strings.Join(direct, ", ")}
		}
		s.log.Warn("upstream proxy removed: new sessions connect directly, and peers see this machine's address", args...)
	}
	if before.Policy.Bind.IsSet() && !now.Policy.Bind.IsSet() {
		s.log.Warn("bind removed: new sessions connect from any address of this machine")
	}
	if unshaped := s.unshaped(before); unshaped != nil {
		s.log.Warn("traffic shaping removed: new sessions show the sizes and times of messages", "listeners", strings.Join(unshaped, ", "))
	}
	if !now.Policy.Clients.Within(before.Policy.Clients) {
		s.log.Warn("more clients than before need no password")
	}
	more := now.Policy.Dialer.Mode > before.Policy.Dialer.Mode
	if more || now.Policy.CJDNSReachable && !before.Policy.CJDNSReachable && now.Policy.Dialer.Mode != fallback.Never {
		s.log.Warn("plaintext v1 is now allowed where it was not", "v1_fallback", now.V1Fallback, "cjdnsreachable", now.Policy.CJDNSReachable)
	}
	more = now.Policy.InboundV1 > before.Policy.InboundV1
	if more || now.Policy.CJDNSReachable && !before.Policy.CJDNSReachable && now.Policy.InboundV1 == fallback.Overlay {
		s.log.Warn("plaintext v1 is now allowed to peers where it was not", "inbound_v1", now.InboundV1, "cjdnsreachable", now.Policy.CJDNSReachable)
	}
}

// warnOfSettings warns of files with passwords that are readable or look wrong, of a
// --clients that admits everyone or has no effect, and of an upstream proxy for .onion only.
func (s *service) warnOfSettings() {
	guestOnly := s.onlyGiven && len(s.listeners) == 0 // no client takes this proxy for Tor
	if s.settings().Policy.OnlyOnion() && !guestOnly {
		s.log.Warn("only some connections go through an upstream proxy, .onion among them: Bitcoin Core sends private broadcasts to clearnet " +
			"through the proxy that has reached an onion peer, here from your own IP address; keep Core's -onion= at Tor itself")
	}
	for _, file := range s.settings().ExposedFiles() {
		s.log.Warn("any local user can read this file, which contains a password; chown it to the proxy's user and chmod it to 600", "file", file)
	}
	if s.settings().AuthHasOuterSpace() {
		s.log.Warn("the first line of the file begins or ends with a space, which is taken as part of the user name or password; remove it if that is not meant",
			"file", s.settings().AuthFile)
	}
	for _, n := range s.settings().Policy.Clients.Everybody() {
		s.log.Warn("--clients admits everyone without a password; list only the networks of your clients", "clients", n.String())
	}
	if len(s.settings().Clients) > 0 && !slices.ContainsFunc(s.listeners, func(l listener) bool { return l.inbound == nil && !listen.IsLocal(l.Addr()) }) {
		s.log.Warn("--clients has no effect: all listeners are local; to admit remote clients, add --listen with an address they can reach",
			"clients", s.settings().Clients)
	}
}
