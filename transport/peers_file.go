package transport

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A memory's file is text: a line that names the format, then a line a peer,
// the one noted longest ago first.
//
//	bip324 peer memory 1
//	192.0.2.1:8333 v2 2026-09-30T12:00:00Z
//	[2001:db8::1]:8333 v1 2026-09-01T12:00:00Z
//
// The time is when the note expires.
const (
	peersFormat  = "bip324 peer memory 1"
	maxPeersAddr = 270 // a name of 255 bytes and a port take 261
	maxPeersLine = 300
	maxPeersFile = (maxPeers + 1) * maxPeersLine
)

// saveDelay is how long a note may wait to be saved, and so the shortest time
// between two saves.
const saveDelay = 5 * time.Second

// peersFile is where a memory is kept.
type peersFile struct {
	path string

	saving  sync.Mutex // held while the file is written; taken before Peers.mu
	failing bool       // the last save failed; belongs to who holds saving

	// These are under Peers.mu.
	changed bool        // since the last save
	timer   *time.Timer // to the next save; nil if none is due
	closed  bool
}

// CorruptPeersError says that a memory's file could not be understood, or not
// all of it. The memory is usable.
type CorruptPeersError struct {
	Path     string
	SetAside string // where the file is now
	Kept     int    // peers known to speak v2 that could be read all the same
	Err      error
}

func (e *CorruptPeersError) Error() string {
	return fmt.Sprintf("the peer memory %s is corrupt: %v; it was set aside as %s, %d peers that speak v2 were kept",
		e.Path, e.Err, e.SetAside, e.Kept)
}

func (e *CorruptPeersError) Unwrap() error { return e.Err }

// OpenPeers returns a memory that is kept in the file at path, which is created
// if there is none. Changes are saved within five seconds and by Close, each
// time as a new file, mode 0600, that replaces the old one in one step. Of two
// processes with the same file the one that saves last wins.
//
// A file that is corrupt, or in an unknown format, is renamed to path.corrupt,
// in place of an older one of that name. Then the error is a *CorruptPeersError
// and the memory is good all the same: it holds what could be read of peers that
// speak v2, since not to know those could lead to plaintext. With every other
// error, such as that path cannot be written to, there is no memory.
func OpenPeers(path string) (*Peers, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // or the first save would replace the link
	}
	fail := func(err error) (*Peers, error) {
		return nil, fmt.Errorf("the peer memory cannot be kept in %s: %w", path, err)
	}
	b, err := readPeersFile(path)
	if err != nil {
		return fail(err)
	}
	p := &Peers{file: &peersFile{path: path}}
	kept, corrupt := readPeers(b, time.Now())
	for _, note := range kept {
		p.know(note)
	}
	aside := ""
	if corrupt != nil {
		aside = path + ".corrupt"
	}
	if err := replaceFile(path, aside, formatPeers(p.known.all())); err != nil {
		return fail(err)
	}
	if corrupt != nil {
		return p, &CorruptPeersError{Path: path, SetAside: aside, Kept: p.known.order.Len(), Err: corrupt}
	}
	return p, nil
}

// Close saves what has changed; an error is that of saving. The memory goes on
// without its file; without a file Close does nothing.
func (p *Peers) Close() error {
	if p == nil || p.file == nil {
		return nil
	}
	p.mu.Lock()
	p.file.closed = true
	if p.file.timer != nil {
		p.file.timer.Stop()
	}
	p.mu.Unlock()
	p.file.saving.Lock()
	defer p.file.saving.Unlock()
	return p.save()
}

// saveSoon has the file saved unless that is about to happen.
func (p *Peers) saveSoon() { // p.mu is held
	f := p.file
	if f == nil {
		return
	}
	f.changed = true
	if f.timer == nil && !f.closed {
		f.timer = time.AfterFunc(saveDelay, p.saveNow)
	}
}

// saveNow is what happens when the timer goes off.
func (p *Peers) saveNow() {
	if err := p.saveDue(); err != nil && p.SaveFailed != nil {
		p.SaveFailed(err)
	}
}

// saveDue saves unless the memory is closed. The error is that of saving, if the time
// before was no failure.
func (p *Peers) saveDue() error {
	f := p.file
	f.saving.Lock()
	defer f.saving.Unlock()
	p.mu.Lock()
	f.timer = nil
	closed := f.closed
	p.mu.Unlock()
	if closed {
		return nil
	}
	err := p.save()
	if f.failing {
		f.failing = err != nil
		return nil
	}
	f.failing = err != nil
	return err
}

// save writes the file if there is something new.
func (p *Peers) save() error { // p.file.saving is held
	f := p.file
	p.mu.Lock()
	if !f.changed {
		p.mu.Unlock()
		return nil
	}
	known := p.known.all()
	f.changed = false
	p.mu.Unlock()
	err := replaceFile(f.path, "", formatPeers(known))
	if err == nil {
		return nil
	}
	p.mu.Lock()
	p.saveSoon() // the disk may have room again, or this process descriptors
	p.mu.Unlock()
	return fmt.Errorf("the peer memory cannot be saved in %s: %w", f.path, err)
}

// replaceFile puts a file with the contents b at path, in one step: whatever
// goes wrong before, the old one stays. It is first renamed to aside, unless
// that is empty.
func replaceFile(path, aside string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync() // or a rename that survives a crash could name an empty file
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil && aside != "" {
		err = os.Rename(path, aside)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// readPeersFile returns what is in the file at path, up to a byte more than
// there may be, or nothing if there is none.
func readPeersFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a save would replace /dev/null, for example
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPeersFile+1))
}

// formatPeers is the text of a memory's file.
func formatPeers(known []peerNote) []byte {
	b := append(make([]byte, 0, 64*(len(known)+1)), peersFormat...)
	b = append(b, '\n')
	for _, note := range known {
		if fitsLine(note.addr) {
			b = fmt.Appendf(b, "%s %v %s\n", note.addr, note.speaks, note.until.UTC().Format(time.RFC3339))
		}
	}
	return b
}

// readPeers is the reverse, without what has expired by now. An error is about
// the first thing that is wrong, and then only notes on v2 peers are returned: a
// wrong one of those costs a connection at worst, a wrong one on a v1 peer would
// cost secrecy.
func readPeers(b []byte, now time.Time) (known []peerNote, err error) {
	if len(b) > maxPeersFile {
		b, err = b[:maxPeersFile], fmt.Errorf("it has more than %d bytes", maxPeersFile)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if n == 1 && line == peersFormat {
			continue
		}
		note, ok := readNote(line, now)
		switch {
		case n == 1 && err == nil:
			err = fmt.Errorf("it does not begin with the line %q", peersFormat)
		case !ok && err == nil:
			err = fmt.Errorf("line %d is not of the form \"HOST:PORT v1|v2 EXPIRY\"", n)
		}
		if ok && now.Before(note.until) {
			known = append(known, note)
		}
	}
	if err != nil {
		known = slices.DeleteFunc(known, func(n peerNote) bool { return n.speaks != SpeaksV2 })
	}
	return known, err
}

// readNote reads a line. No note outlives one of its kind that is made now,
// whatever the clock may have been when it was written.
func readNote(line string, now time.Time) (note peerNote, ok bool) {
	if len(line) > maxPeersLine {
		return note, false
	}
	addr, line, _ := strings.Cut(line, " ")
	speaks, expiry, _ := strings.Cut(line, " ")
	switch speaks {
	case SpeaksV1.String():
		note.speaks = SpeaksV1
	case SpeaksV2.String():
		note.speaks = SpeaksV2
	default:
		return note, false
	}
	until, err := time.Parse(time.RFC3339, expiry)
	if latest := now.Add(note.speaks.lifetime()); until.After(latest) {
		until = latest
	}
	note.addr = strings.ToLower(addr)
	note.until = until.UTC().Truncate(time.Second) // as it is written
	return note, err == nil && fitsLine(addr)
}

// fitsLine says whether addr can stand in a line, and be found in it again. All
// addresses can that a SOCKS client may ask the proxy for.
func fitsLine(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return err == nil && len(addr) <= maxPeersAddr &&
		!strings.ContainsFunc(addr, func(r rune) bool { return r <= ' ' || r > '~' })
}
