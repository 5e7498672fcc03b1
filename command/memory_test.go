package command

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestCollectWhenQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allocated uint64
		collections := 0
		done := make(chan struct{})
		go collectWhenQuiet(func() uint64 { return allocated }, func() { collections++ }, done)
		for _, step := range []struct {
			what  string
			bytes uint64
			want  int
		}{
			{"sessions open", 2 * worthwhile, 0},
			{"nothing", 0, 1},
			{"nothing again", 0, 1},
			{"a session opens", quietBytes, 1},
			{"more sessions open", worthwhile, 1},
			{"a session opens", quietBytes, 2},
		} {
			allocated += step.bytes
			time.Sleep(quietInterval)
			synctest.Wait()
			if collections != step.want {
				t.Errorf("%s: %d collections so far, want %d", step.what, collections, step.want)
			}
		}
		close(done)
	})
}
