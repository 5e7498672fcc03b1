package fallback

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// The file of known peers is text: a line that names the format, then a line a
// peer, v1 before v2, the one used longest ago first.
//
//	bip324 peer memory 1
//	[2001:db8::1]:8333 v1 2026-09-01T12:00:00Z
//	192.0.2.1:8333 v2 2026-09-30T12:00:00Z
//	node.example:8333 v2 1970-01-31T00:10:00Z 2h13m5s
//
// The time is when the note expires. A duration behind it is for how long the note
// has counted although the clock says that it does not (see trustFor).
const (
	peersFormat  = "bip324 peer memory 1"
	maxPeersAddr = 270 // a name of 255 bytes and a port take 261
	maxPeersLine = 320
	maxPeersFile = (2*maxPeers + 1) * maxPeersLine
)

// saveDelay is how long a note may wait to be saved, and so the shortest time
// between two saves.
const saveDelay = 5 * time.Second

// peersFile is where a memory is kept.
type peersFile struct {
	path string

	saving  sync.Mutex // held while the file is written; taken before Peers.mu
	failing bool       // the last save failed; belongs to who holds saving
	saved   uint64     // checksum of what the file has; belongs to who holds saving

	// These are under Peers.mu.
	changed bool        // since the last save
	timer   *time.Timer // to the next save; nil if none is due
	closed  bool
}

// ErrPeersFile says that a path does not lead to a regular file.
var ErrPeersFile = errors.New("it is not a regular file")

// errEmptyFile is what a crash or a full disk leaves of a file.
var errEmptyFile = errors.New("it is empty, as a crash or a full disk may have left it")

// CorruptPeersError says that the file of known peers is invalid, or a part of it.
// The *Peers is usable.
type CorruptPeersError struct {
	Path     string
	SetAside string // where the file is now; empty if the file was
	Kept     int    // v2 notes that could be read all the same
	Err      error
}

func (e *CorruptPeersError) Error() string {
	what := fmt.Sprintf("the file of known peers %s is corrupt: %v", e.Path, e.Err)
	if e.SetAside != "" {
		what += "; it was set aside as " + e.SetAside
	}
	return fmt.Sprintf("%s; %d peers that speak v2 are still known", what, e.Kept)
}

func (e *CorruptPeersError) Unwrap() error { return e.Err }

// OpenPeers returns a Peers that is kept in the file at path, which is created if
// there is none, and is otherwise not changed before the first note. Changes are
// saved within five seconds and by Close, each time as a new file, mode 0600, that
// replaces the old one in one step. Only a file that is a mount point of its own
// is overwritten, while a copy lies at path.new. Of two processes with the same
// file the one that saves last wins.
//
// A file that is corrupt, or in an unknown format, is renamed to path.corrupt, in
// place of an older one of that name. Then the error is a *CorruptPeersError and
// the Peers is good all the same: it holds the v2 notes that could be read, since
// to lose those could lead to plaintext. The same error says that the file was
// empty. With every other error, such as that path cannot be written to, there is
// no Peers; the error is ErrPeersFile if path is a directory or a device.
func OpenPeers(path string) (*Peers, error) { return openPeersAt(path, 0) }

func openPeersAt(path string, skew time.Duration) (*Peers, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // or the first save would replace the link
	}
	fail := func(err error) (*Peers, error) {
		return nil, fmt.Errorf("known peers cannot be kept in %s: %w", path, err)
	}
	b, exists, err := readPeersFile(path)
	if err != nil {
		return fail(err)
	}
	p := &Peers{file: &peersFile{path: path}, skew: skew}
	now := p.now()
	known, corrupt := readPeers(b, now)
	if exists && len(b) == 0 {
		corrupt = errEmptyFile
	}
	if corrupt != nil {
		whole, _, _ := readPeersFile(wholeFile(path)) // if it was overwritten and that was cut short
		before, _ := readPeers(whole, now)
		known = append(onlyV2(before), known...)
	}
	for i := range known {
		p.load(&known[i], now)
	}
	text := formatPeers(p.all(), now)
	aside := ""
	switch {
	case corrupt != nil && len(b) > 0:
		aside = path + ".corrupt"
		fallthrough
	case corrupt != nil || !exists:
		err = replaceFile(path, aside, text)
	default:
		text = b
		err = tryFile(path, text)
	}
	if err != nil {
		return fail(err)
	}
	p.file.saved = checksum(text)
	if corrupt != nil {
		return p, &CorruptPeersError{Path: path, SetAside: aside, Kept: p.v2.order.Len(), Err: corrupt}
	}
	return p, nil
}

// load adds a note from the file. Of two for one peer the later one counts, for
// old files have a line for each spelling.
func (p *Peers) load(note *peerNote, now clocks) {
	if e, ok := p.v2.byKey[note.key]; ok && (note.speaks != SpeaksV2 || e.Value.(*peerNote).date.After(note.date)) {
		return
	}
	if note.speaks == SpeaksV2 {
		p.v1.remove(note.key)
		p.v2.put(note, maxPeers, now)
		return
	}
	p.v1.put(note, maxPeers, now)
}

// Distrusted returns how many v2 notes from the file count although, by the clock,
// their dates have passed or are too far ahead: the clock is wrong, or was when
// they were made, or the proxy has not run since. Such a note counts for a week of
// the time that processes run, and keeps its date.
func (p *Peers) Distrusted() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, note := range p.v2.all(now) {
		if note.distrusted(now) {
			n++
		}
	}
	return n
}

// all returns the notes for the file. p.mu is held.
func (p *Peers) all() []peerNote {
	now := p.now()
	return append(p.v1.all(now), p.v2.all(now)...)
}

// Close saves what has changed, be it only by the clock; an error is that of
// saving. The Peers goes on without its file; without a file Close does nothing.
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
	idle := f.closed || !f.changed
	p.mu.Unlock()
	if idle {
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

// save writes the file if it would change.
func (p *Peers) save() error { // p.file.saving is held
	f := p.file
	p.mu.Lock()
	known, now := p.all(), p.now()
	f.changed = false
	p.mu.Unlock()
	text := formatPeers(known, now)
	sum := checksum(text)
	if sum == f.saved {
		return nil
	}
	err := replaceFile(f.path, "", text)
	if err == nil {
		f.saved = sum
		return nil
	}
	p.mu.Lock()
	p.saveSoon() // the disk may have room again, or this process descriptors
	p.mu.Unlock()
	return fmt.Errorf("known peers cannot be saved in %s: %w", f.path, err)
}

var checksumSeed = maphash.MakeSeed()

func checksum(b []byte) uint64 { return maphash.Bytes(checksumSeed, b) }

// formatPeers returns the text of the file.
func formatPeers(known []peerNote, now clocks) []byte {
	b := append(make([]byte, 0, 64*(len(known)+1)), peersFormat...)
	b = append(b, '\n')
	for i := range known {
		note := &known[i]
		if !fitsLine(note.key) {
			continue
		}
		b = fmt.Appendf(b, "%s %v %s", note.key, note.speaks, note.expiry(now).UTC().Format(time.RFC3339))
		if note.distrusted(now) {
			b = fmt.Appendf(b, " %v", note.onTrust(now).Truncate(time.Second))
		}
		b = append(b, '\n')
	}
	return b
}

// readPeers is the reverse. v2 notes are returned whatever the clock says, unless
// they have counted on trust for too long; v1 notes only if they are in time. An
// error is about the first thing that is wrong, and then only v2 notes are
// returned: a wrong one of those costs a connection at worst, a wrong v1 note
// would cost secrecy.
func readPeers(b []byte, now clocks) (known []peerNote, err error) {
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
		if ok && note.counts(now) {
			known = append(known, note)
		}
	}
	if err != nil {
		known = onlyV2(known)
	}
	return known, err
}

func onlyV2(known []peerNote) []peerNote {
	return slices.DeleteFunc(known, func(n peerNote) bool { return n.speaks != SpeaksV2 })
}

// readNote reads a line.
func readNote(line string, now clocks) (note peerNote, ok bool) {
	if len(line) > maxPeersLine {
		return note, false
	}
	addr, line, _ := strings.Cut(line, " ")
	speaks, line, _ := strings.Cut(line, " ")
	expiry, trust, trusted := strings.Cut(line, " ")
	date, err := time.Parse(time.RFC3339, expiry)
	if err != nil || !fitsLine(addr) {
		return note, false
	}
	note.key = CanonicalAddr(addr)
	note.date = date.UTC().Truncate(time.Second) // as it is written
	if year := note.date.Year(); year < 0 || year > 9999 {
		return note, false // only with its time zone could it be written so
	}
	switch speaks {
	case SpeaksV1.String():
		note.speaks = SpeaksV1
		note.until = now.up.Add(note.date.Sub(now.wall))
		return note, !trusted
	case SpeaksV2.String():
		note.speaks = SpeaksV2
	default:
		return note, false
	}
	if note.inTime(now) {
		note.until = now.up.Add(note.date.Sub(now.wall))
	}
	var used time.Duration
	if trusted {
		used, err = time.ParseDuration(trust)
	}
	note.read = now.up.Add(-used)
	return note, err == nil && used >= 0
}

// fitsLine reports whether addr can stand in a line, and be found in it again. All
// addresses can that a SOCKS client may ask the proxy for.
func fitsLine(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return err == nil && len(addr) <= maxPeersAddr &&
		!strings.ContainsFunc(addr, func(r rune) bool { return r <= ' ' || r > '~' })
}
