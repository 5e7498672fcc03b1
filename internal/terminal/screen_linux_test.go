package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openPty returns both ends of a pseudoterminal: what a terminal window has, and
// what a program has.
func openPty(t *testing.T, columns, lines uint16) (window, tty *os.File) {
	t.Helper()
	window, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("not run: there are no pseudoterminals here: %v", err)
	}
	t.Cleanup(func() { window.Close() })
	fd := int(window.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: lines})
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return window, tty
}

// A screen takes keys as they come and leaves the terminal as it was.
func TestScreen(t *testing.T) {
	window, tty := openPty(t, 70, 20)
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
	window.WriteString("q\x03")
	for _, want := range "q\x03" {
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
