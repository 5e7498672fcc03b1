package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// loading is how reading the settings anew came out.
type loading struct {
	settings *settings
	err      error
}

// loadOnHangup loads the settings anew at each SIGHUP, until done is closed. A file
// that makes its reader wait keeps nobody else waiting. Windows has no such signal.
func loadOnHangup(c *cli.Context, done <-chan struct{}) <-chan loading {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	loaded := make(chan loading)
	go func() {
		defer signal.Stop(hangups)
		for {
			select {
			case <-hangups:
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

// reload puts the new settings in force, but for those that need a restart. If
// anything is wrong with them the old ones stay. Sessions keep the policy that
// they began with.
func (s *service) reload(next loading) {
	err := next.err
	if err == nil {
		err = next.settings.mayServe(s.listeners)
	}
	if err != nil {
		var wrong *settingError
		if !s.settings.logAddresses && errors.As(err, &wrong) {
			err = fmt.Errorf("%s is wrong; run bip324-proxy config to see why", wrong.where)
		}
		s.log.Error("the configuration is not reloaded, and stays as it was", "err", err)
		return
	}
	changed, restart := s.settings.replace(next.settings)
	s.setLevel()
	s.server.SetPolicy(s.policy())
	s.log.Info("configuration reloaded", "changed", names(changed))
	if len(restart) > 0 {
		s.log.Warn("what changed needs a restart, and stays as it was until then", "settings", names(restart))
	}
	s.warnOfExposed()
}

func names(all []string) string {
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

// replace takes over from next what can be reloaded. It returns the names of the
// settings that changed, and of those that would have.
func (s *settings) replace(next *settings) (changed, restart []string) {
	auth := s.policy.Socks.Auth
	for i := range table {
		t := &table[i]
		differs := !reflect.DeepEqual(t.value(s), t.value(next))
		switch {
		case t.reload:
			t.copy(s, next)
			s.setOrigin(t.name, next)
			differs = differs || t.name == "auth-file" && s.authFile != "" && !reflect.DeepEqual(auth, next.policy.Socks.Auth)
			if differs {
				changed = append(changed, t.name)
			}
		case differs:
			restart = append(restart, t.name)
		default:
			s.setOrigin(t.name, next) // its line, perhaps
		}
	}
	s.policy = next.policy
	return changed, restart
}

func (s *settings) setOrigin(name string, next *settings) {
	delete(s.origins, name)
	if o, ok := next.origins[name]; ok {
		s.origins[name] = o
	}
}
