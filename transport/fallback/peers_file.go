package fallback

import (
	"errors"
	"fmt"
	"hash/maphash"
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

// The known-peers file is text: a line with the format, then a line for each peer, v1
// before v2, least recently used first.
//
//	bip324 known peers 1
//	[2001:db8::1]:8333 v1 2026-09-01T12:00:00Z
//	192.0.2.1:8333 v2 2026-09-30T12:00:00Z
//	node.example:8333 v2 1970-01-31T00:10:00Z 2h13m5s
//
// The time is when the note expires. The duration behind it is how long the note has
// counted against the wall clock (see trustFor).
const (
	peersFormat  = "bip324 known peers 1"
	maxPeersAddr = 270 // a name of 255 bytes and a port take 261
	maxPeersLine = 320
	maxPeersFile = (2*maxPeers + 1) * maxPeersLine
)

// saveDelay is how long a note waits to be saved, and so the shortest time between two
// saves.
const saveDelay = 5 * time.Second

// peersFile is the file of a Peers.
type peersFile struct {
	path string

	saving  sync.Mutex // held while the file is written; locked before Peers.mu
	failing bool       // the last save failed; guarded by saving
	saved   uint64     // checksum of the file's contents; guarded by saving

	timer  *time.Timer // of the next save, or nil; guarded by Peers.mu
	closed bool        // guarded by Peers.mu
}

var (
	// ErrPeersFile reports a path that is a directory or a device.
	ErrPeersFile = errors.New("it is not a regular file")

	errEmptyFile = errors.New("it is empty, perhaps after a crash or a full disk")
)

// CorruptPeersError reports that the known-peers file, or a part of it, is invalid. The
// *Peers is usable.
type CorruptPeersError struct {
	Path  string
	Moved string // where the file is now; empty if it was empty
	Kept  int    // v2 notes that could be read
	Err   error
}

func (e *CorruptPeersError) Error() string {
	what := fmt.Sprintf("the known-peers file %s is corrupt: %v", e.Path, e.Err)
	if e.Moved != "" {
		what += "; it was moved to " + e.Moved
	}
	return fmt.Sprintf("%s; %d peers that speak v2 are still known", what, e.Kept)
}

func (e *CorruptPeersError) Unwrap() error { return e.Err }

// OpenPeers returns a Peers with the file at path, which it creates if necessary.
// Changes are saved within five seconds and by Close, each time by replacing the file
// atomically with a new one, mode 0600. Only a file that is a mount point is
// overwritten, with a copy at path.new meanwhile. If two processes use one file, the
// last save wins.
//
// A file that is corrupt, or has an unknown format, is moved to path.corrupt. Then the
// error is a *CorruptPeersError and the Peers has the v2 notes that could be read,
// since losing them could lead to plaintext. An empty file is reported likewise. With
// any other error, such as ErrPeersFile, the Peers is nil.
func OpenPeers(path string) (*Peers, error) { return openPeersAt(path, 0) }

func openPeersAt(path string, skew time.Duration) (*Peers, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the first save would replace the link otherwise
	}
	fail := func(err error) (*Peers, error) {
		return nil, fmt.Errorf("known peers cannot be kept in %s: %w", path, err)
	}
	old, err := readPeersFile(path)
	if err != nil {
		return fail(err)
	}
	p := &Peers{file: &peersFile{path: path}, skew: skew}
	now := p.now()
	known, corrupt := parsePeers(old, now)
	if old != nil && len(old) == 0 {
		corrupt = errEmptyFile
	}
	if corrupt != nil {
		b, _ := readPeersFile(copyOf(path)) // left if overwriting the file was interrupted
		before, _ := parsePeers(b, now)
		known = append(onlyV2(before), known...)
	}
	for _, note := range known {
		e, ok := p.v2.byKey[note.key] // a peer in two spellings, or in the copy, too
		if !ok || note.date.After(e.Value.(*peerNote).date) {
			p.add(&note, now)
		}
	}
	text, moved := old, ""
	if corrupt != nil || old == nil {
		if len(old) > 0 {
			moved = path + ".corrupt"
		}
		text = formatPeers(p.saved(now), now)
		err = replaceFile(path, moved, text)
	} else { // the first save would most likely fail with the same error
		var temp string
		if temp, err = writeTemp(path, text); err == nil {
			err = os.Remove(temp)
		}
	}
	if err != nil {
		return fail(err)
	}
	p.file.saved = checksum(text)
	if corrupt != nil {
		return p, &CorruptPeersError{Path: path, Moved: moved, Kept: p.v2.order.Len(), Err: corrupt}
	}
	return p, nil
}

// readPeersFile returns the contents of the file at path, up to one byte more than
// allowed, or nil if it does not exist.
func readPeersFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a save would replace /dev/null, for example
		return nil, ErrPeersFile
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPeersFile+1))
}

// saved returns the notes that are saved. p.mu is held.
func (p *Peers) saved(now clocks) []peerNote { return append(p.v1.all(now), p.v2.all(now)...) }

// Close saves what has changed and returns the error of that. The Peers stays usable,
// without its file. Close does nothing if it has none.
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

// saveSoon schedules a save after saveDelay, unless one is scheduled. p.mu is held.
func (p *Peers) saveSoon() {
	if f := p.file; f != nil && f.timer == nil && !f.closed {
		f.timer = time.AfterFunc(saveDelay, p.saveNow)
	}
}

// saveNow performs a scheduled save.
func (p *Peers) saveNow() {
	f := p.file
	f.saving.Lock()
	p.mu.Lock()
	f.timer = nil
	closed := f.closed
	p.mu.Unlock()
	var err error
	if !closed {
		err = p.save()
	}
	isNew := err != nil && !f.failing
	f.failing = err != nil
	f.saving.Unlock()
	if isNew && p.SaveFailed != nil {
		p.SaveFailed(err)
	}
}

// save writes the file if its contents change. p.file.saving is held.
func (p *Peers) save() error {
	f := p.file
	p.mu.Lock()
	now := p.now()
	known := p.saved(now)
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
	p.saveSoon() // the disk may have room again, or the process descriptors
	p.mu.Unlock()
	return fmt.Errorf("known peers cannot be saved in %s: %w", f.path, err)
}

var checksumSeed = maphash.MakeSeed()

func checksum(b []byte) uint64 { return maphash.Bytes(checksumSeed, b) }

// formatPeers returns the contents of the file.
func formatPeers(known []peerNote, now clocks) []byte {
	b := append(make([]byte, 0, 64*(len(known)+1)), peersFormat...)
	b = append(b, '\n')
	for _, note := range known {
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

// parsePeers is the reverse of formatPeers. It returns the notes that count. The error
// is the first fault of the file; then only v2 notes are returned, for a wrong v2 note
// costs a connection at worst, a wrong v1 note secrecy.
func parsePeers(b []byte, now clocks) (known []peerNote, err error) {
	if len(b) > maxPeersFile {
		b, err = b[:maxPeersFile], fmt.Errorf("it is longer than %d bytes", maxPeersFile)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if n == 1 && line == peersFormat {
			continue
		}
		note, ok := parseNote(line, now)
		switch {
		case n == 1 && err == nil:
			err = fmt.Errorf("its first line is not %q", peersFormat)
		case !ok && err == nil:
			err = fmt.Errorf("line %d is invalid; must be HOST:PORT v1|v2 EXPIRY", n)
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

// parseNote parses a line.
func parseNote(line string, now clocks) (note peerNote, ok bool) {
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
	note.date = date.UTC().Truncate(time.Second) // as formatPeers writes it
	if year := note.date.Year(); year < 0 || year > 9999 {
		return note, false // RFC 3339 has no such year in UTC
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

// fitsLine reports whether addr fits into a line and can be parsed again. Every
// address that a SOCKS client can ask for does.
func fitsLine(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return err == nil && len(addr) <= maxPeersAddr &&
		!strings.ContainsFunc(addr, func(r rune) bool { return r <= ' ' || r > '~' })
}
