package proxy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Of refusals that are alike the first is logged, and then every ten minutes how
// many more there were, for as long as there are any.
func TestFoldedRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f foldedRefusals
		r := refusal{of: "node.example:8333", kind: kindDial}
		began := time.Now()
		var told []string
		firsts := 0
		for range 100 {
			if f.isFirst(r, func(n int) { told = append(told, fmt.Sprintf("%d at %v", n, time.Since(began))) }) {
				firsts++
			}
			f.isFirst(refusal{of: "other.example:8333", kind: kindDial}, func(n int) { t.Logf("other: %d", n) })
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if firsts != 10 || len(told) != 10 || told[0] != "9 at 10m0s" || told[9] != "9 at 1h40m0s" {
			t.Errorf("%d lines at once, then %v", firsts, told)
		}
		if len(f.of) != 0 {
			t.Errorf("%d are kept", len(f.of))
		}
	})
}

// Another destination, another reason, another answer to the client: another line.
// All told, nothing is lost, and never are more than so many kept.
func TestFoldedRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f foldedRefusals
		refusals, counted := 0, 0
		for i := range 3 * maxFolds {
			for _, r := range []refusal{
				{fmt.Sprintf("node%d.example:8333", i), kindDial, 4, "", 0},
				{fmt.Sprintf("node%d.example:8333", i), kindDial, 5, "", 0},
				{fmt.Sprintf("node%d.example:8333", i), kindSilent, 0, "", 0},
				{"node.example:8333", kindDial, 4, "", 0}, // over and over
			} {
				for range 3 {
					refusals++
					if f.isFirst(r, func(n int) { counted += n }) {
						counted++
					} else if refusals%3 == 1 && r.of != "node.example:8333" {
						t.Fatalf("%v counts as another", r)
					}
				}
			}
			if len(f.of) > maxFolds {
				t.Fatalf("%d are kept", len(f.of))
			}
		}
		f.tellAll()
		if counted != refusals || len(f.of) != 0 {
			t.Errorf("%d of %d are told, %d kept", counted, refusals, len(f.of))
		}
	})
}
