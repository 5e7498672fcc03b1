package settings

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Merge returns what is in force once next has been loaded: what can be reloaded is
// next's. It also returns the names of the settings that changed, and of those that
// need a restart to change. The error says which protection next would drop without
// saying so.
func (s *Settings) Merge(next *Settings) (merged *Settings, changed, restart []string, err error) {
	if err := s.checkDrops(next); err != nil {
		return nil, nil, nil, err
	}
	merged = new(Settings)
	*merged = *next
	merged.origins = maps.Clone(next.origins)
	merged.Token, merged.Hosts, merged.PeerListeners = s.Token, s.Hosts, s.PeerListeners
	for i := range table {
		t := &table[i]
		switch differs := !reflect.DeepEqual(t.value(s), t.value(next)); {
		case !differs && t.name == "auth-file" && s.AuthFile != "" && !reflect.DeepEqual(s.Policy.Socks.Auth, next.Policy.Socks.Auth):
			changed = append(changed, t.name) // what is in it
		case !differs && t.name == "status-token-file" && s.statusTokenFile != "" && s.Token != next.Token:
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
	return merged, changed, restart, nil
}

// checkDrops returns an error if next would drop what protects, such as a password, only
// because it is not mentioned any more: a file may be half written. Who means it writes
// the default.
func (s *Settings) checkDrops(next *Settings) error {
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
	return fmt.Errorf("no longer set: %s; set it again, or to drop this protection write %s", strings.Join(missing, ", "), strings.Join(write, ", "))
}

// mentions says whether any setting of that guard was given.
func (s *Settings) mentions(guard string) bool {
	return slices.ContainsFunc(table, func(t setting) bool {
		return t.guard == guard && s.IsGiven(t.name)
	})
}
