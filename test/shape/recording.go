package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Recording holds what an eavesdropper saw of many sessions, and what happened in them.
type Recording struct {
	Began    time.Time     // when the recording began: all times in it are counted from here
	Node     string        // the node's user agent
	Commit   string        // the proxy's version
	RTT      time.Duration // the round trip that the relays between proxy and node add
	Length   time.Duration // how long was recorded
	Cells    []Cell
	Sessions []Session
}

// Cell holds the costs of all sessions of one mode and one kind of client that the sessions themselves do not show.
type Cell struct {
	Mode, Client string
	Shape        string          // the value of --shape
	CPU          time.Duration   // what the cell's proxy used while the recording lasted
	CPUFar       time.Duration   // tunnel: what the proxy at the node used
	Overflows    uint64          // how often a backlog left at once
	Disconnected int             // sessions that ended before the recording did
	MinPings     []time.Duration // of each session, as the node tells them at the end
	Pings        []time.Duration // likewise the last ones
}

// Session is one connection of a wallet through the proxy to the node.
type Session struct {
	ID       int
	Mode     string // off, pad, cover or tunnel
	Client   string // inv, push or noisy
	Seed     uint64
	Length   time.Duration
	Segments []Segment // in the order of At
	Actions  []Action  // in the order of At
}

// Segment is one read at the relay between proxy and node: what an eavesdropper sees.
type Segment struct {
	At    time.Duration
	Up    bool // from the wallet to the node
	Bytes int
}

// Action is what happened in a session: the truth that an attacker looks for.
//
//	headers   the wallet asks for headers
//	filters   the wallet asks for filter headers and a filter
//	block     the wallet asks for a block of Size bytes, and has it at Until
//	tx        the wallet announces or sends a transaction of Size bytes, and the node has accepted it at Until
//	announce  the node has a new block, and the wallet has heard of it at Until
//	ping      the wallet pings the node
type Action struct {
	At    time.Duration
	Kind  string
	Size  int
	Until time.Duration // 0 if it did not happen before the recording ended
}

// header is the first line of a recording's text.
type header struct {
	Format   string    `json:"format"`
	Began    time.Time `json:"began"`
	Node     string    `json:"node"`
	Commit   string    `json:"commit"`
	RTT      int64     `json:"rtt"`
	Length   int64     `json:"length"`
	Cells    []Cell    `json:"cells"`
	Sessions int       `json:"sessions"`
}

// session is a line for each session. Times are in µs; those of segments and actions are counted from the last one's.
type session struct {
	ID       int      `json:"id"`
	Mode     string   `json:"mode"`
	Client   string   `json:"client"`
	Seed     uint64   `json:"seed"`
	Length   int64    `json:"length"`
	Segments []int64  `json:"segments"` // time, bytes, time, bytes …: bytes are negative from the node to the wallet
	Actions  [][4]any `json:"actions"`  // time, kind, size, time from its beginning to Until or -1
}

// format is what the first line of a recording says it is.
const format = "bip324-proxy shape 1"

// maxLength is the length of the longest recording.
const maxLength = 24 * time.Hour

// maxLine is the longest line that ReadRecording accepts.
const maxLine = 64 << 20

// Write writes r as gzip'd lines of JSON.
func (r *Recording) Write(w io.Writer) error {
	packed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(packed)
	if err := lines.Encode(header{Format: format, Began: r.Began, Node: r.Node, Commit: r.Commit, RTT: r.RTT.Microseconds(),
		Length: r.Length.Microseconds(), Cells: r.Cells, Sessions: len(r.Sessions)}); err != nil {
		return err
	}
	for i := range r.Sessions {
		if err := lines.Encode(r.Sessions[i].pack()); err != nil {
			return err
		}
	}
	return packed.Close()
}

func (s *Session) pack() session {
	line := session{ID: s.ID, Mode: s.Mode, Client: s.Client, Seed: s.Seed, Length: s.Length.Microseconds(),
		Segments: make([]int64, 0, 2*len(s.Segments)), Actions: make([][4]any, 0, len(s.Actions))}
	var last int64
	for _, segment := range s.Segments {
		at, n := segment.At.Microseconds(), int64(segment.Bytes)
		if !segment.Up {
			n = -n
		}
		line.Segments = append(line.Segments, at-last, n)
		last = at
	}
	last = 0
	for _, action := range s.Actions {
		at, took := action.At.Microseconds(), int64(-1)
		if action.Until != 0 {
			took = action.Until.Microseconds() - at
		}
		line.Actions = append(line.Actions, [4]any{at - last, action.Kind, action.Size, took})
		last = at
	}
	return line
}

// ReadRecording reads what Write wrote.
func ReadRecording(from io.Reader) (*Recording, error) {
	packed, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(packed)
	lines.Buffer(nil, maxLine)
	var first header
	if err := nextLine(lines, &first); err != nil {
		return nil, err
	}
	if first.Format != format {
		return nil, fmt.Errorf("the recording's format %q is unknown; must be %q", first.Format, format)
	}
	r := &Recording{Began: first.Began, Node: first.Node, Commit: first.Commit, Cells: first.Cells,
		RTT: micros(first.RTT), Length: micros(first.Length)}
	for i := range first.Sessions {
		var line session
		if err := nextLine(lines, &line); err != nil {
			return nil, fmt.Errorf("session %d of %d: %w", i+1, first.Sessions, err)
		}
		s, err := line.unpack()
		if err != nil {
			return nil, fmt.Errorf("session %d of %d: %w", i+1, first.Sessions, err)
		}
		r.Sessions = append(r.Sessions, s)
	}
	if lines.Scan() {
		return nil, fmt.Errorf("the recording has more lines than its %d sessions", first.Sessions)
	}
	if err := lines.Err(); err != nil { // such as a missing checksum
		return nil, err
	}
	return r, nil
}

// nextLine parses the next line into v.
func nextLine(lines *bufio.Scanner, v any) error {
	if !lines.Scan() {
		if err := lines.Err(); err != nil {
			return err
		}
		return io.ErrUnexpectedEOF
	}
	return json.Unmarshal(lines.Bytes(), v)
}

var errSegments = errors.New("the list of segments has an odd length; must be pairs of time and bytes")

func (line *session) unpack() (Session, error) {
	s := Session{ID: line.ID, Mode: line.Mode, Client: line.Client, Seed: line.Seed, Length: micros(line.Length)}
	if s.Length < 0 || s.Length > maxLength {
		return s, fmt.Errorf("the length %v is invalid; must be from 0s to %v", s.Length, maxLength)
	}
	if len(line.Segments)%2 != 0 {
		return s, errSegments
	}
	var at time.Duration
	for i := 0; i < len(line.Segments); i += 2 {
		at += micros(line.Segments[i])
		n := int(line.Segments[i+1])
		s.Segments = append(s.Segments, Segment{At: at, Up: n > 0, Bytes: max(n, -n)})
	}
	at = 0
	for _, action := range line.Actions {
		passed, ok1 := action[0].(float64)
		kind, ok2 := action[1].(string)
		size, ok3 := action[2].(float64)
		took, ok4 := action[3].(float64)
		if !ok1 || !ok2 || !ok3 || !ok4 {
			return s, fmt.Errorf("action %v is invalid; must be time, kind, size and time taken", action)
		}
		at += micros(int64(passed))
		a := Action{At: at, Kind: kind, Size: int(size)}
		if took >= 0 {
			a.Until = at + micros(int64(took))
		}
		s.Actions = append(s.Actions, a)
	}
	return s, nil
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
