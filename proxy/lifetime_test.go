package proxy

import (
	"testing"
	"time"
)

// A closed session has no timers, which would keep it in memory until they fire.
func TestClosedSessionHasNoTimers(t *testing.T) {
	var l lifetime
	l.after(time.Hour, func() {})
	l.closeAfter(time.Hour)
	l.closeAfter(2 * time.Hour)
	timers := append(l.ends, l.timer)
	l.close()
	for i, timer := range timers {
		if timer.Stop() {
			t.Errorf("timer %d still runs", i)
		}
	}
	if l.closeAfter(time.Hour); l.ends != nil {
		t.Error("a closed session has got a timer")
	}
}
