package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// shaped returns a recording of all cells, in which sessions do what their modes promise.
func shaped(rng *rand.Rand) *Recording {
	r := &Recording{RTT: 50 * time.Millisecond, Length: 2 * time.Minute, Node: "/Node:1|2/", Commit: "abc"}
	for _, mode := range []string{modeOff, modePad, modeCover, modeTunnel} {
		for _, client := range []string{"inv", "push", "noisy"} {
			r.Cells = append(r.Cells, Cell{Mode: mode, Client: client, Shape: mode, CPU: time.Second, MinPings: []time.Duration{60 * time.Millisecond}})
			for range 3 {
				s := Session{Mode: mode, Client: client, Length: r.Length}
				for at := time.Duration(0); at < s.Length; at += 5 * time.Second {
					n := map[string]int{modeOff: 246}[mode]
					if n == 0 {
						n = 1024
					}
					s.Segments = append(s.Segments, Segment{At: at + uniform(rng, 0, time.Second), Up: true, Bytes: n}, Segment{At: at + time.Second, Bytes: n})
				}
				for at := 10 * time.Second; at < s.Length-span; at += 20 * time.Second {
					s.Actions = append(s.Actions, Action{At: at, Kind: "tx", Size: 225, Until: at + 1500*time.Millisecond},
						Action{At: at + time.Second, Kind: "announce", Size: 1000, Until: at + 2*time.Second},
						Action{At: at + 2*time.Second, Kind: "filters", Size: 1000, Until: at + 3*time.Second})
					if at%(40*time.Second) == 10*time.Second {
						s.Actions = append(s.Actions, Action{At: at + 3*time.Second, Kind: "block", Size: 1000})
					}
				}
				r.Sessions = append(r.Sessions, s)
			}
		}
	}
	return r
}

// missed returns the goals of report that are not reached.
func missed(report *Report) []Goal {
	var all []Goal
	for _, g := range report.Goals {
		if !g.Reached {
			all = append(all, g)
		}
	}
	return all
}

// TestGoals judges a recording that reaches all goals but those of chance, then one that misses a goal after the other.
func TestGoals(t *testing.T) {
	tiny := effort{trees: 5, turnTrees: 5, turns: 2}
	judged := func(change func(*Recording), figures func(*Result)) *Report {
		r := shaped(newRand(1))
		change(r)
		cells, _ := cellsOf(r)
		report := tiny.attack(r, []uint64{1})
		for _, result := range report.Results {
			result.AUC.Mean, result.TPR.Mean, result.Chance.AUC = 0.5, 0, 0.6
			figures(result)
		}
		report.Goals = goals(report, cells)
		return report
	}
	keep, same := func(*Recording) {}, func(*Result) {}
	report := judged(keep, same)
	if len(report.Goals) < 30 || len(missed(report)) > 0 {
		t.Errorf("%d goals, of which these are missed: %+v", len(report.Goals), missed(report))
	}
	session := func(mode, client string, change func(*Session)) func(*Recording) {
		return func(r *Recording) {
			for i := range r.Sessions {
				if s := &r.Sessions[i]; s.Mode == mode && s.Client == client {
					change(s)
				}
			}
		}
	}
	late := func(by time.Duration) func(*Session) {
		return func(s *Session) {
			for i := range s.Actions {
				s.Actions[i].Until += by
			}
		}
	}
	extra := func(mode string, change func(*Cell)) func(*Recording) {
		return func(r *Recording) {
			for i := range r.Cells {
				if r.Cells[i].Mode == mode && r.Cells[i].Client == "inv" {
					change(&r.Cells[i])
				}
			}
		}
	}
	result := func(task, mode, client string, v view, change func(*Result)) func(*Result) {
		return func(r *Result) {
			if r.Task == task && r.Mode == mode && r.Client == client && r.View == v {
				change(r)
			}
		}
	}
	found := func(tpr float64) func(*Result) { return func(r *Result) { r.TPR.Mean = tpr } }
	for _, test := range []struct {
		mode, what string // of the goal that is missed, in part
		change     func(*Recording)
		figures    func(*Result)
	}{
		{modePad, "bucket", session(modePad, "inv", func(s *Session) { s.Segments[0].Bytes = 1025 }), same},
		{"pad inv", "delay", session(modePad, "inv", late(6*time.Millisecond)), same},
		{"pad push", "3 MB", session(modePad, "push", func(s *Session) {
			for i := range s.Segments {
				s.Segments[i].Bytes = 2048
			}
		}), same},
		{"cover inv", "44 MB", session(modeCover, "inv", func(s *Session) { s.Segments[0].Bytes = 1 << 20 }), same},
		{"cover inv", "min ping", extra(modeCover, func(c *Cell) { c.MinPings[0] = 551 * time.Millisecond }), same},
		{"tunnel inv", "min ping", extra(modeTunnel, func(c *Cell) { c.MinPings[0] = 301 * time.Millisecond }), same},
		{"tunnel inv", "min ping", extra(modeTunnel, func(c *Cell) { c.Shape = "tunnel,every=200ms"; c.MinPings[0] = 101 * time.Millisecond }), same},
		{"tunnel push", "3 s", session(modeTunnel, "push", late(3100*time.Millisecond)), same},
		{"pad inv", "ended early", extra(modePad, func(c *Cell) { c.Disconnected = 1 }), same},
		{"cover noisy", "upstream alone", keep, result("announce", modeCover, "noisy", viewUp, func(r *Result) { r.AUC.Mean = 0.61 })},
		{"cover push", "pushed", keep, result("tx", modeCover, "push", viewBoth, found(0.06))},
		{"tunnel noisy, down", "own transaction", keep, result("tx", modeTunnel, "noisy", viewDown, found(0.06))},
		{"tunnel inv", "block announced", keep, result("announce", modeTunnel, "inv", viewBoth, found(0.11))},
	} {
		all := missed(judged(test.change, test.figures))
		if len(all) != 1 || all[0].Mode != test.mode || !strings.Contains(all[0].What, test.what) {
			t.Errorf("%s, %s: missed are %+v", test.mode, test.what, all)
		}
	}
}

// TestMarkdown writes the tables: each cell of the recording is in each, all rows of a table have the same columns, and
// what is missed is said.
func TestMarkdown(t *testing.T) {
	r := shaped(newRand(1))
	r.Cells[3].Disconnected = 1
	report := effort{trees: 5, turnTrees: 5, turns: 2}.attack(r, []uint64{1})
	text := report.Summary() + "\n" + report.Markdown()
	if !strings.Contains(text, "sessions that ended early: 0 | 1 | **missed** |") {
		t.Error("the tables do not say that a session ended early")
	}
	for _, table := range strings.Split(text, "### ")[1:] {
		title, rest, _ := strings.Cut(table, "\n\n")
		rows, _, _ := strings.Cut(rest, "\n\n") // notes follow
		lines := strings.Split(strings.TrimSpace(title+"\n\n"+rows), "\n")
		for _, line := range lines[2:] {
			if strings.Count(line, "|") != strings.Count(lines[2], "|") {
				t.Errorf("%s: %q has not the columns of %q", title, line, lines[2])
			}
		}
		if strings.HasPrefix(title, "Figures") {
			continue
		}
		for _, mode := range []string{modeOff, modePad, modeCover, modeTunnel} {
			for _, client := range []string{"inv", "push", "noisy"} {
				if !strings.Contains(table, "| "+mode+" | "+client+" |") {
					t.Errorf("%s: the line for %s %s is missing", title, mode, client)
				}
			}
		}
	}
}

func TestPrecision(t *testing.T) {
	for _, test := range []struct{ tpr, fpr, want float64 }{{1, 0, 1}, {0, 0.01, 0}, {1, 1 / (perDay - 1), 0.5}} {
		if got := precision(test.tpr, test.fpr); got < test.want-1e-9 || got > test.want+1e-9 {
			t.Errorf("hits of %v and false alarms of %v: %v are right; must be %v", test.tpr, test.fpr, got, test.want)
		}
	}
}
