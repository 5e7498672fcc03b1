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

// years is as wrong as a clock can be that has lost its battery, or has a year that
// somebody mistyped.
const years = 30 * 365 * day

// openSkewed is openPeers where the wall clock is wrong by skew.
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
	p.mu.Lock() // or it would be set while a save reads it
	defer p.mu.Unlock()
	p.skew = skew
}

// writeNotes writes a file with a v2 note and a v1 note that expire so long after
// now, as a program whose clock is right would.
func writeNotes(t testing.TB, path string, v2, v1 time.Duration) string {
	t.Helper()
	text := fmt.Sprintf("%s\none:1 v1 %s\ntwo:1 v2 %s\n", peersFormat,
		time.Now().Add(v1).UTC().Format(time.RFC3339), time.Now().Add(v2).UTC().Format(time.RFC3339))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return text
}

// expiryOf returns when the file says that addr's note expires.
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

// The clock is wrong when the proxy starts. The v2 note protects from the first
// moment, the file is left alone, and neither a clock that is set right while it
// runs nor a restart then costs anything. A v1 note never gains.
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
						t.Errorf("the start made the file\n%s", readFile(t, path))
					}
					if got := p.Lookup("two:1"); got != SpeaksV2 {
						t.Errorf("at the start the v2 peer is %v", got)
					}
					if got := p.Lookup("one:1"); got != SpeaksUnknown {
						t.Errorf("at the start the v1 peer is %v", got)
					}
					wrong := skew > 20*day || skew < -10*day
					if got := p.Distrusted(); got != map[bool]int{true: 1}[wrong] {
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
						t.Errorf("after the clock was set back a v1 peer is %v", got)
					}
					closePeers(t, p)
					if got := expiryOf(t, path, "two:1"); !got.Equal(time.Now().Add(20*day - 10*time.Minute)) {
						t.Errorf("the file has another date: %v", got)
					}
					if want := time.Now().Add(30*day - 10*time.Minute); corrected && !expiryOf(t, path, "three:1").Equal(want) {
						t.Errorf("a new note expires at %v, not %v", expiryOf(t, path, "three:1"), want)
					}

					p = openSkewed(t, path, 0)
					for _, addr := range []string{"two:1", "three:1"} {
						if got := p.Lookup(addr); got != SpeaksV2 {
							t.Errorf("after a restart with the right clock %s is %v", addr, got)
						}
					}
					closePeers(t, p)
				})
			})
		}
	}
}

// Where the clock is right, a v2 note that is not renewed ends with its date, and
// at the latest with a week of running in total, however often the proxy starts;
// so does one with a date that cannot be. A v1 note ends with the earlier of what
// either clock says.
func TestNotesEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		v2    time.Duration // expiry when it is read
		runs  time.Duration // for how long each process does
		stops time.Duration // between two of them
		lasts time.Duration // from the first start to the first look-up that finds no note
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
					t.Errorf("it counted for %v, want %v", end, c.lasts)
				}
				p := openSkewed(t, path, 0)
				if got := p.Lookup("one:1"); got != SpeaksUnknown {
					t.Errorf("the v1 peer is still %v", got)
				}
				closePeers(t, p)
				if got := readFile(t, path); got != peersFormat+"\n" {
					t.Errorf("left in the file: %q", got)
				}
			})
		})
	}
}

// v1 notes that a wrong clock dated do not count, or not for longer.
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
		// The clock is set while the proxy runs.
		for _, skew := range []time.Duration{-day, -time.Minute, time.Minute, day} {
			os.Remove(path)
			p := openSkewed(t, path, 0)
			p.Note("one:1", SpeaksV1)
			noted := time.Now()
			setClock(p, skew)
			closePeers(t, p)
			if strings.Contains(readFile(t, path), "one:1") {
				if got := expiryOf(t, path, "one:1"); got.After(noted.Add(day)) {
					t.Errorf("set by %v: it expires at %v, noted at %v", skew, got, noted)
				}
			}
			setClock(p, 0)
			time.Sleep(day)
			if got := p.Lookup("one:1"); got != SpeaksUnknown {
				t.Errorf("set by %v: after a day it is %v", skew, got)
			}
		}
	})
}

// The clock is set right after the last save: Close writes what remains.
func TestCloseCorrectsDates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "peers")
		p := openSkewed(t, path, -years)
		p.Note("two:1", SpeaksV2)
		time.Sleep(time.Minute)
		if got, want := expiryOf(t, path, "two:1"), time.Now().Add(30*day-time.Minute-years); !got.Equal(want) {
			t.Errorf("with the wrong clock: %v, want %v", got, want)
		}
		setClock(p, 0)
		closePeers(t, p)
		if got, want := expiryOf(t, path, "two:1"), time.Now().Add(30*day-time.Minute); !got.Equal(want) {
			t.Errorf("with the right clock: %v, want %v", got, want)
		}
	})
}

// Somebody sets the clock ahead while the proxy runs, long after it started.
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
			t.Error("a v2 peer was forgotten by the file")
		}
	})
}
