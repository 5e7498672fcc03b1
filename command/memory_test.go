package command

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCollectWhenQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allocated atomic.Uint64
		var collections atomic.Int32
		done := make(chan struct{})
		go collectWhenQuiet(allocated.Load, func() { collections.Add(1) }, done)
		for _, step := range []struct {
			what  string
			bytes uint64
			want  int32
		}{
			{"sessions open", 2 * worthwhile, 0},
			{"nothing", 0, 1},
			{"nothing again", 0, 1},
			{"a session opens", quietBytes, 1},
			{"more sessions open", worthwhile, 1},
			{"a session opens", quietBytes, 2},
		} {
			allocated.Add(step.bytes)
			time.Sleep(quietInterval)
			synctest.Wait()
			if n := collections.Load(); n != step.want {
				t.Errorf("%s: %d collections so far, want %d", step.what, n, step.want)
			}
		}
		close(done)
	})
}
