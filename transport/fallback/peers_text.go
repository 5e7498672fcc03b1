package fallback

import (
	"fmt"
	"net"
	"slices"
	"strings"
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

// formatPeers returns the contents of the file.
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
