package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Is says whether f is a terminal.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Size returns how many columns and lines the terminal out has, or 0, 0 if it is
// none.
func Size(out io.Writer) (width, height int) {
	f, ok := out.(*os.File)
	if !ok {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// Screen is a terminal that is drawn again and again. What it showed before comes
// back when it is closed.
type Screen struct {
	out     *os.File
	keys    chan byte
	restore func()
}

// What the terminal is told: ECMA-48, and xterm's private modes that all of them
// know by now.
const (
	enter      = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	leave      = "\x1b[?25h\x1b[?1049l"
	home       = "\x1b[H"
	clearRight = "\x1b[K"
	clearBelow = "\x1b[J"
)

// Open takes over the terminal that in and out are. Until Close its keys come one
// by one, and are not shown, Ctrl-C among them.
func Open(in, out *os.File) (*Screen, error) {
	modes, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("the terminal cannot be taken over: %w", err)
	}
	restoreOutput := obeySequences(out)
	s := &Screen{out: out, keys: make(chan byte, 16)}
	s.restore = func() {
		out.WriteString(leave)
		restoreOutput()
		term.Restore(int(in.Fd()), modes)
	}
	out.WriteString(enter)
	go s.read(in) // until the program ends: a terminal's read cannot be interrupted
	return s, nil
}

func (s *Screen) read(in *os.File) {
	defer close(s.keys)
	var b [64]byte
	for {
		n, err := in.Read(b[:])
		if err != nil {
			return
		}
		for typed := b[:n]; len(typed) > 0; {
			if n := sequence(typed); n > 0 {
				typed = typed[n:]
				continue
			}
			select {
			case s.keys <- typed[0]:
			default: // nobody wants so many
			}
			typed = typed[1:]
		}
	}
}

// sequence is how many bytes typed begins with that are of a key such as an arrow,
// and not Escape: a control sequence (ECMA-48), or what xterm sends in its place.
func sequence(typed []byte) int {
	if len(typed) < 3 || typed[0] != 0x1b || typed[1] != '[' && typed[1] != 'O' {
		return 0
	}
	for i, b := range typed[2:] {
		if b >= 0x40 && b <= 0x7e {
			return i + 3
		}
	}
	return len(typed)
}

// Keys gives what is typed, but for keys that are several bytes, such as arrows. It is closed when there will be no more.
func (s *Screen) Keys() <-chan byte { return s.keys }

// Size returns how many columns and lines there are at present.
func (s *Screen) Size() (width, height int) { return Size(s.out) }

// Draw shows lines, which must fit, instead of what was there.
func (s *Screen) Draw(lines []string) error {
	_, err := s.out.WriteString(home + strings.Join(lines, clearRight+"\r\n") + clearRight + clearBelow)
	return err
}

// Close gives the terminal back as it was.
func (s *Screen) Close() { s.restore() }
