package proxy

import (
	"maps"
	"slices"
	"testing"
)

// Select shows each session once, the newest first, and lists those that are wanted by number; the
// counts are those of all.
func TestSelect(t *testing.T) {
	server := new(Server)
	server.Pretend(10)
	server.remove(server.live[3], Outcome{}) // number 4
	var shown []uint64
	now := server.Select(2, func(s *SessionInfo) bool {
		shown = append(shown, s.Number)
		return s.Number%2 == 0
	})
	if want := []uint64{10, 9, 8, 7, 6, 5, 3, 2, 1}; !slices.Equal(shown, want) {
		t.Errorf("shown %v, want %v", shown, want)
	}
	var listed []uint64
	for _, s := range now.Sessions {
		listed = append(listed, s.Number)
		if s.LastToPeer != "inv" || s.Traffic.MessagesToPeer != 1 {
			t.Errorf("listed %+v", s)
		}
	}
	if want := []uint64{2, 6, 8, 10}; !slices.Equal(listed, want) {
		t.Errorf("listed %v, want %v", listed, want)
	}
	none := server.Select(0, nil)
	if got, want := none.Traffic, server.Snapshot().Traffic; len(none.Sessions) != 0 || !maps.Equal(got, want) || want["v2"].MessagesToPeer == 0 {
		t.Errorf("none listed: %d sessions, traffic %v, want %v", len(none.Sessions), got, want)
	}
}
