package testkit

import "runtime/debug"

// Racing reports whether the race detector is on, which makes pools drop what they hold.
func Racing() bool {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" {
				return s.Value == "true"
			}
		}
	}
	return false
}
