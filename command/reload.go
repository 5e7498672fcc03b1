package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"bip324proxy/transport/fallback"

	"github.com/urfave/cli/v2"
)

// loading is how reading the settings anew came out.
type loading struct {
	settings *settings
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
			settings, err := load(c)
			select {
			case loaded <- loading{settings, err}:
			case <-done:
				return
			}
		}
	}()
	return loaded
}

// loadUnless loads the settings; there are none if stop is closed first.
func loadUnless(stop <-chan struct{}, c *cli.Context) (*settings, error) {
	loaded := make(chan loading, 1)
	go func() {
		settings, err := load(c)
		loaded <- loading{settings, err}
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
		err = next.settings.mayServe(s.listeners)
	}
	if err == nil {
		err = before.mayDrop(next.settings)
	}
	if err == nil && s.peersLost != nil && next.settings.policy.Dialer.Mode != fallback.Never {
		err = fmt.Errorf("v1-fallback: %v needs the known peers, and their file could not be used at the start; mend that, and restart: %w",
			next.settings.policy.Dialer.Mode, s.peersLost)
	}
	if err != nil {
		var wrong *settingError
		if !before.logAddresses && errors.As(err, &wrong) {
			err = fmt.Errorf("%s is wrong; run bip324-proxy config to see why", wrong.where)
		}
		s.log.Error("the configuration is not reloaded, and stays as it was", "err", err)
		return
	}
	merged, changed, restart := before.merge(next.settings)
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

// mayDrop returns an error if next would drop what protects, such as a password, only
// because it is not mentioned any more: a file may be half written. Who means it writes
// the default.
func (s *settings) mayDrop(next *settings) error {
	var missing, write []string
	for i := range table {
		t := &table[i]
		if t.guard == "" || t.isPreset(s) || next.mentions(t.guard) {
			continue
		}
		missing = append(missing, t.name)
		write = append(write, t.guard+" = "+inTOML(lookUp(t.guard).value(defaults())))
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("not set any more: %s; write it again, or if new sessions are to do without, write %s", names(missing), names(write))
}

// mentions says whether any setting of that guard was given.
func (s *settings) mentions(guard string) bool {
	return slices.ContainsFunc(table, func(t setting) bool {
		_, given := s.origins[t.name]
		return given && t.guard == guard
	})
}

// warnOfLess warns of what new sessions may do that they might not before.
func (s *service) warnOfLess(before *settings) {
	now := s.settings()
	if before.policy.Upstream != nil && now.policy.Upstream == nil {
		s.log.Warn("there is no upstream proxy any more: new sessions connect directly, and peers see this machine's address")
	}
	if !now.policy.Clients.Within(before.policy.Clients) {
		s.log.Warn("more clients are admitted without a password than before")
	}
	more := now.policy.Dialer.Mode > before.policy.Dialer.Mode
	if more || now.cjdnsReachable && !before.cjdnsReachable && now.policy.Dialer.Mode != fallback.Never {
		s.log.Warn("new sessions may speak plaintext v1 where they might not before", "v1_fallback", now.v1Fallback, "cjdnsreachable", now.cjdnsReachable)
	}
}

func names(all []string) string {
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

// merge returns what is in force when next has been loaded: what can be reloaded is
// next's. It also returns the names of the settings that changed, and of those that
// would have.
func (s *settings) merge(next *settings) (merged *settings, changed, restart []string) {
	merged = new(settings)
	*merged = *next
	merged.origins = maps.Clone(next.origins)
	merged.token = s.token
	for i := range table {
		t := &table[i]
		switch differs := !reflect.DeepEqual(t.value(s), t.value(next)); {
		case !differs && t.name == "auth-file" && s.authFile != "" && !reflect.DeepEqual(s.policy.Socks.Auth, next.policy.Socks.Auth):
			changed = append(changed, t.name) // what is in it
		case !differs && t.name == "status-token-file" && s.statusTokenFile != "" && s.token != next.token:
			restart = append(restart, t.name)
		case differs && t.reload:
			changed = append(changed, t.name)
		case differs:
			restart = append(restart, t.name)
			t.copy(merged, s)
			delete(merged.origins, t.name)
			if o, ok := s.origins[t.name]; ok {
				merged.origins[t.name] = o
			}
		}
	}
	return merged, changed, restart
}
