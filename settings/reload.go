package settings

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Merge returns the settings in force after a reload: next's, except those that need a
// restart. It also returns the names of the settings that changed, and of those that
// would. The error names a protection that next would drop by not mentioning it.
func (s *Settings) Merge(next *Settings) (merged *Settings, changed, restart []string, err error) {
	if err := s.checkDrops(next); err != nil {
		return nil, nil, nil, err
	}
	merged = new(Settings)
	*merged = *next
	merged.origins = maps.Clone(next.origins)
	merged.Token, merged.Hosts, merged.PeerListeners, merged.Inbound = s.Token, s.Hosts, s.PeerListeners, s.Inbound
	for _, t := range table {
		switch differs := !reflect.DeepEqual(t.value(s), t.value(next)); {
		case !differs && t.name == "auth-file" && s.AuthFile != "" && !reflect.DeepEqual(s.Policy.Socks.Auth, next.Policy.Socks.Auth):
			changed = append(changed, t.name) // its content
		case !differs && t.name == "status-token-file" && s.statusTokenFile != "" && s.Token != next.Token:
			restart = append(restart, t.name)
		case differs && t.reload:
			changed = append(changed, t.name)
		case differs:
			restart = append(restart, t.name)
			reflect.ValueOf(t.field(merged)).Elem().Set(reflect.ValueOf(t.field(s)).Elem())
			delete(merged.origins, t.name)
			if o, ok := s.origins[t.name]; ok {
				merged.origins[t.name] = o
			}
		}
	}
	return merged, changed, restart, nil
}

// checkDrops returns an error if next would drop a protection, such as a password, only
// because it is no longer given: the file may be half written. To drop it, the user
// writes the default.
func (s *Settings) checkDrops(next *Settings) error {
	var missing, write []string
	for _, t := range table {
		isDefault := reflect.DeepEqual(t.value(s), t.value(defaults()))
		if t.guard != "" && !isDefault && !next.mentions(t.guard) {
			missing = append(missing, t.name)
			write = append(write, t.guard+" = "+inTOML(lookUp(t.guard).value(defaults())))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("no longer set: %s; set it again, or to drop this protection write %s", strings.Join(missing, ", "), strings.Join(write, ", "))
}

// mentions reports whether any setting of that guard was given.
func (s *Settings) mentions(guard string) bool {
	return slices.ContainsFunc(table, func(t *setting) bool {
		return t.guard == guard && s.IsGiven(t.name)
	})
}
