package fallback

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

// years is the error of a clock that lost its battery, or was set to a mistyped year.
const years = 30 * 365 * day

// openSkewed is openPeers with a wall clock that is wrong by skew.
func openSkewed(t testing.TB, path string, skew time.Duration) *Peers {
	t.Helper()
	p, err := openPeersAt(path, skew)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// setClock makes the wall clock wrong by skew.
func setClock(p *Peers, skew time.Duration) {
	p.mu.Lock() // or a save could read it at the same time
	defer p.mu.Unlock()
	p.skew = skew
}

// writeNotes writes a file with a v2 note and a v1 note that expire after the given times, as a
// program with a right clock would.
func writeNotes(t testing.TB, path string, v2, v1 time.Duration) string {
	t.Helper()
	text := fmt.Sprintf("%s\none:1 v1 %s\ntwo:1 v2 %s\n", peersFormat,
		time.Now().Add(v1).UTC().Format(time.RFC3339), time.Now().Add(v2).UTC().Format(time.RFC3339))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return text
}

// expiryOf returns the time at which addr's note expires according to the file.
func expiryOf(t testing.TB, path, addr string) time.Time {
	t.Helper()
	for line := range strings.Lines(readFile(t, path)) {
		if fields := strings.Fields(line); fields[0] == addr {
			date, err := time.Parse(time.RFC3339, fields[2])
			if err != nil {
				t.Error(err)
			}
			return date
		}
	}
	t.Errorf("%s is not in the file", addr)
	return time.Time{}
}

// If the clock is wrong at the start, the v2 note protects from the first moment, and the file
// stays unchanged; neither correcting the clock while the proxy runs nor a restart then loses
// anything. A v1 note never gains time.
func TestWrongClockAtStart(t *testing.T) {
	for _, skew := range []time.Duration{-years, -60 * day, -31 * day, -day, 19 * day, 31 * day, years} {
		for _, corrected := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v/%v", skew, corrected), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "peers")
					text := writeNotes(t, path, 20*day, time.Hour)
					before, _ := os.Stat(path)
					p := openSkewed(t, path, skew)
					if after, _ := os.Stat(path); readFile(t, path) != text || !os.SameFile(before, after) {
						t.Errorf("the start changed the file to\n%s", readFile(t, path))
					}
					if got := p.Lookup("two:1"); got != SpeaksV2 {
						t.Errorf("at the start the v2 peer is known as %v", got)
					}
					if got := p.Lookup("one:1"); got != SpeaksUnknown {
						t.Errorf("at the start the v1 peer is known as %v", got)
					}
					wrong := skew > 20*day || skew < -10*day
					if got := p.Count().Distrusted; got != map[bool]int{true: 1}[wrong] {
						t.Errorf("%d notes are distrusted", got)
					}
					p.Note("three:1", SpeaksV2)
					p.Note("four:1", SpeaksV1)
					time.Sleep(10 * time.Minute)
					if corrected {
						setClock(p, 0)
					}
					if p.Lookup("two:1") != SpeaksV2 || p.Lookup("three:1") != SpeaksV2 {
						t.Error("a v2 peer was forgotten")
					}
					if got, want := p.Lookup("four:1"), map[bool]Speaks{true: SpeaksUnknown, false: SpeaksV1}; got != want[corrected && skew != 0] && skew > 0 {
						t.Errorf("after the clock was set back a v1 peer is known as %v", got)
					}
					closePeers(t, p)
					if got := expiryOf(t, path, "two:1"); !got.Equal(time.Now().Add(20*day - 10*time.Minute)) {
						t.Errorf("the file has the wrong date %v", got)
					}
					if want := time.Now().Add(30*day - 10*time.Minute); corrected && !expiryOf(t, path, "three:1").Equal(want) {
						t.Errorf("a new note expires at %v, want %v", expiryOf(t, path, "three:1"), want)
					}

					p = openSkewed(t, path, 0)
					for _, addr := range []string{"two:1", "three:1"} {
						if got := p.Lookup(addr); got != SpeaksV2 {
							t.Errorf("after a restart with the right clock %s is known as %v", addr, got)
						}
					}
					closePeers(t, p)
				})
			})
		}
	}
}

// If the clock is right, a v2 note that is not renewed ends at its date, or after a week of running
// time in total if the date has passed, however often the proxy starts; an impossible date does the
// same. A v1 note ends at the earlier date of both clocks.
func TestNotesEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		v2    time.Duration // expiry when the file is read
		runs  time.Duration // duration of each process
		stops time.Duration // time between processes
		lasts time.Duration // from the first start until Lookup finds no note
	}{
		{"runs on", 20 * day, 100 * day, 0, 20 * day},
		{"runs on, expired", -time.Hour, 100 * day, 0, 7 * day},
		{"runs on, years ago", -years, 100 * day, 0, 7 * day},
		{"runs on, years ahead", years, 100 * day, 0, 7 * day},
		{"runs on, a little ahead", 32 * day, 100 * day, 0, 32 * day},
		{"a day, now and then", -time.Hour, day, 9 * day, 70 * day},
		{"a day, now and then, years ahead", years, day, 9 * day, 70 * day},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "peers")
				writeNotes(t, path, c.v2, time.Hour)
				began := time.Now()
				end := time.Duration(-1)
				for end < 0 && time.Since(began) < 200*day {
					p := openSkewed(t, path, 0)
					for stop := time.Now().Add(c.runs); end < 0 && time.Now().Before(stop); time.Sleep(time.Hour) {
						if p.Lookup("two:1") != SpeaksV2 {
							end = time.Since(began)
						}
					}
					closePeers(t, p)
					time.Sleep(c.stops)
				}
				if end < c.lasts-time.Minute || end > c.lasts+day {
					t.Errorf("the note counted for %v, want %v", end, c.lasts)
				}
				p := openSkewed(t, path, 0)
				if got := p.Lookup("one:1"); got != SpeaksUnknown {
					t.Errorf("the v1 peer is still known as %v", got)
				}
				closePeers(t, p)
				if got := readFile(t, path); got != peersFormat+"\n" {
					t.Errorf("the file still has %q", got)
				}
			})
		})
	}
}

// A v1 note dated by a wrong clock does not count, or not for longer.
func TestV1NotesGainNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "peers")
		for _, left := range []time.Duration{-years, -1, 0, day + time.Second, 31 * day, years} {
			writeNotes(t, path, day, left)
			p := openSkewed(t, path, 0)
			if got := p.Lookup("one:1"); got != SpeaksUnknown {
				t.Errorf("a v1 note that expires in %v counts: %v", left, got)
			}
			closePeers(t, p)
		}
		// The clock is changed while the proxy runs.
		for _, skew := range []time.Duration{-day, -time.Minute, time.Minute, day} {
			os.Remove(path)
			p := openSkewed(t, path, 0)
			p.Note("one:1", SpeaksV1)
			noted := time.Now()
			setClock(p, skew)
			closePeers(t, p)
			if strings.Contains(readFile(t, path), "one:1") {
				if got := expiryOf(t, path, "one:1"); got.After(noted.Add(day)) {
					t.Errorf("clock set by %v: the note of %v expires at %v", skew, noted, got)
				}
			}
			setClock(p, 0)
			time.Sleep(day)
			if got := p.Lookup("one:1"); got != SpeaksUnknown {
				t.Errorf("clock set by %v: after a day the peer is known as %v", skew, got)
			}
		}
	})
}

// If the clock is corrected after the last save, Close writes the corrected dates.
func TestCloseCorrectsDates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "peers")
		p := openSkewed(t, path, -years)
		p.Note("two:1", SpeaksV2)
		time.Sleep(time.Minute)
		if got, want := expiryOf(t, path, "two:1"), time.Now().Add(30*day-time.Minute-years); !got.Equal(want) {
			t.Errorf("with the wrong clock: got %v, want %v", got, want)
		}
		setClock(p, 0)
		closePeers(t, p)
		if got, want := expiryOf(t, path, "two:1"), time.Now().Add(30*day-time.Minute); !got.Equal(want) {
			t.Errorf("with the right clock: got %v, want %v", got, want)
		}
	})
}

// The clock is set ahead long after the start.
func TestClockJumpsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "peers")
		writeNotes(t, path, 20*day, time.Hour)
		p := openSkewed(t, path, 0)
		p.Note("three:1", SpeaksV2)
		time.Sleep(10 * day)
		setClock(p, years)
		if p.Lookup("two:1") != SpeaksV2 || p.Lookup("three:1") != SpeaksV2 {
			t.Error("a v2 peer was forgotten")
		}
		closePeers(t, p)
		p = openSkewed(t, path, 0)
		if p.Lookup("two:1") != SpeaksV2 || p.Lookup("three:1") != SpeaksV2 {
			t.Error("a v2 peer was forgotten after a restart")
		}
	})
}
