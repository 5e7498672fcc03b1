package top

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

// fakeScreen notes what is drawn, and when.
type fakeScreen struct {
	keys  chan byte
	began time.Time
	drawn []string
}

func newFakeScreen() *fakeScreen {
	return &fakeScreen{keys: make(chan byte), began: time.Now()}
}

func (s *fakeScreen) Size() (width, height int) { return 200, 50 }
func (s *fakeScreen) Keys() <-chan byte         { return s.keys }
func (s *fakeScreen) Draw(lines []string) error {
	s.drawn = append(s.drawn, fmt.Sprintf("%v: %s / %s", time.Since(s.began), lines[0]+" "+lines[1], lines[len(lines)-1]))
	return nil
}

func (s *fakeScreen) want(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(s.drawn, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

const line = "Is my Bitcoin traffic encrypted? Yes: %d encrypted, none in plaintext. / "

// It is drawn at once and then every two seconds; a proxy that is away for a while
// is said to be, with what was known of it.
func TestLive(t *testing.T) {
	for _, key := range []byte{'q', 'Q', 0x1b, 0x03, 0x04, 0} { // 0 stands for the end of the context
		synctest.Test(t, func(t *testing.T) {
			screen := newFakeScreen()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n := 0
			done := make(chan error)
			go func() {
				done <- Live(ctx, screen, func(context.Context) (*status.Report, error) {
					n++
					if n == 2 {
						return nil, errors.New("connection\x1b refused")
					}
					return &status.Report{Live: status.Live{V2: n}}, nil
				})
			}()
			time.Sleep(time.Second)
			screen.keys <- 'x'
			time.Sleep(4 * time.Second)
			if key == 0 {
				cancel()
			} else {
				screen.keys <- key
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			screen.want(t, "0s: "+fmt.Sprintf(line, 1)+"q to quit", "2s: "+fmt.Sprintf(line, 1)+"Trying again: connection? refused", "4s: "+fmt.Sprintf(line, 3)+"q to quit")
		})
	}
}

// A status that cannot be had at all is an error; keys that end are none.
func TestLiveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		screen := newFakeScreen()
		close(screen.keys)
		refused := errors.New("connection refused")
		if err := Live(t.Context(), screen, func(context.Context) (*status.Report, error) {
			time.Sleep(time.Second)
			return nil, refused
		}); err != refused {
			t.Errorf("%v, want %v", err, refused)
		}
		screen.want(t)
	})
}

// While one answer is awaited no other is asked for, and who leaves does not wait.
func TestLiveSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		screen := newFakeScreen()
		asked := 0
		done := make(chan error)
		go func() {
			done <- Live(t.Context(), screen, func(ctx context.Context) (*status.Report, error) {
				asked++
				select {
				case <-ctx.Done():
				case <-time.After(time.Minute):
				}
				return nil, ctx.Err()
			})
		}()
		time.Sleep(30 * time.Second)
		screen.keys <- 'q'
		if err := <-done; err != nil || asked != 1 {
			t.Errorf("%v after %d requests", err, asked)
		}
	})
}
