package terminal

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/term"

	"bip324proxy/internal/pty"
)

// A screen takes keys as they come and leaves the terminal as it was.
func TestScreen(t *testing.T) {
	window, tty, err := pty.Open(70, 20)
	if err != nil {
		t.Skipf("not run: there are no pseudoterminals here: %v", err)
	}
	defer window.Close()
	defer tty.Close()
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if !Is(tty) {
		t.Error("it is no terminal")
	}
	screen, err := Open(tty, tty)
	if err != nil {
		t.Fatal(err)
	}
	if width, height := screen.Size(); width != 70 || height != 20 {
		t.Errorf("%dx%d", width, height)
	}
	window.WriteString("q\x1b[A\x1bOB\x1b[15~\x1b[1;5Cx\x1b\x03") // with Up, Down, F5 and Ctrl-Right, which are not Escape
	for _, want := range "qx\x1b\x03" {
		select {
		case got := <-screen.Keys():
			if got != byte(want) {
				t.Errorf("the key %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a key did not come") // nor was it shown, for the program would have it by now
		}
	}
	if err := screen.Draw([]string{"one", "two"}); err != nil {
		t.Error(err)
	}
	screen.Close()
	const want = enter + home + "one" + clearRight + "\r\ntwo" + clearRight + clearBelow + leave
	got := make([]byte, len(want))
	if _, err := io.ReadFull(window, got); string(got) != want || err != nil {
		t.Errorf("it drew %q, %v; want %q", got, err, want)
	}
	after, err := term.GetState(int(tty.Fd()))
	if err != nil || *after != *before {
		t.Errorf("the terminal is %+v, was %+v (%v)", after, before, err)
	}
}

// What is no terminal has no size, and cannot be taken over.
func TestNoScreen(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if width, height := Size(f); Is(f) || width != 0 || height != 0 {
		t.Errorf("a file is a terminal of %dx%d", width, height)
	}
	if width, height := Size(new(strings.Builder)); width != 0 || height != 0 {
		t.Errorf("a buffer is a terminal of %dx%d", width, height)
	}
	if _, err := Open(f, f); err == nil {
		t.Error("a file was taken over")
	}
}
