package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"bip324proxy/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// printed records the time and the second line, or the only one, of each print.
type printed struct {
	began time.Time
	lines []string
}

func (p *printed) Write(b []byte) (int, error) {
	lines := strings.SplitN(string(b), "\n", 3)
	p.lines = append(p.lines, fmt.Sprintf("%v: %s", time.Since(p.began), lines[min(len(lines)-2, 1)]))
	return len(b), nil
}

// The status is printed at once and then every two seconds; a failed fetch prints an error.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{began: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		n := 0
		err := Watch(ctx, out, func(context.Context) (*status.Report, error) {
			n++
			if n == 2 {
				return nil, errors.New("connection\x1b refused")
			}
			return &status.Report{Live: status.Live{V2: n}}, nil
		})
		want := "0s: Yes: 1 encrypted, none in plaintext.\n2s: Trying again: connection? refused\n4s: Yes: 3 encrypted, none in plaintext."
		if got := strings.Join(out.lines, "\n"); got != want || err != nil || time.Since(out.began) != 5*time.Second {
			t.Errorf("got\n%s\nwant\n%s\nafter %v, %v", got, want, time.Since(out.began), err)
		}
	})
}

// If the first fetch fails, Watch returns its error.
func TestWatchFails(t *testing.T) {
	refused := errors.New("connection refused")
	out := new(strings.Builder)
	if err := Watch(t.Context(), out, func(context.Context) (*status.Report, error) { return nil, refused }); err != refused || out.Len() > 0 {
		t.Errorf("got %v, want %v; printed %q", err, refused, out)
	}
}

// Watch waits for a slow answer without another request, and its end does not wait for it.
func TestWatchSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		err := Watch(ctx, new(strings.Builder), func(ctx context.Context) (*status.Report, error) {
			asked++
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			return nil, ctx.Err()
		})
		if err != nil || asked != 1 || time.Since(began) != 30*time.Second {
			t.Errorf("got %v after %d requests and %v", err, asked, time.Since(began))
		}
	})
}

// draw overwrites the previous report, whatever its size, and never scrolls.
func TestDraw(t *testing.T) {
	for height := 1; height < 40; height++ {
		for _, foot := range [][]string{nil, {"Trying again: connection refused"}} {
			var out strings.Builder
			if err := draw(&out, report(), Screen{Width: 80, Height: height}, foot); err != nil {
				t.Fatal(err)
			}
			text, ok := strings.CutPrefix(out.String(), home+clearRight)
			text, below := strings.CutSuffix(text, "\n"+clearBelow)
			lines := strings.Split(text, "\n"+clearRight)
			if !ok || !below || len(lines) > max(height-1, 1) || strings.Contains(strings.Join(lines, ""), "\x1b") {
				t.Errorf("%d lines: got %q", height, out.String())
			}
			if foot != nil && height > 2 && lines[len(lines)-1] != foot[0] {
				t.Errorf("%d lines: want the reason in %q", height, lines)
			}
		}
	}
}
