package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestRecordingRoundTrip writes a recording and reads it back: it is the same.
func TestRecordingRoundTrip(t *testing.T) {
	want := &Recording{Began: time.Unix(1700000000, 0).UTC(), Node: "/Node:1/", Commit: "abc", RTT: 50 * time.Millisecond, Length: 4 * time.Minute,
		Cells: []Cell{{Mode: "cover", Client: "push", Shape: "cover,every=1s", CPU: time.Second, Overflows: 2, Disconnected: 1,
			MinPings: []time.Duration{51 * time.Millisecond}}},
		Sessions: []Session{
			{ID: 1, Mode: "off", Client: "inv", Seed: 1<<64 - 1, Length: time.Minute,
				Segments: []Segment{{At: 5 * time.Microsecond, Up: true, Bytes: 1024}, {At: time.Second, Bytes: 58}},
				Actions: []Action{{At: 0, Kind: "ping"}, {At: time.Second, Kind: "tx", Size: 225, Until: time.Second},
					{At: 2 * time.Second, Kind: "tx", Size: 300}}},
			{ID: 2, Mode: "tunnel", Client: "noisy", Length: time.Second},
		}}
	var packed bytes.Buffer
	if err := want.Write(&packed); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecording(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwrote\n%+v", got, want)
	}
}

// TestRecordingCut reads a recording without its end: it is an error.
func TestRecordingCut(t *testing.T) {
	var packed bytes.Buffer
	if err := (&Recording{Sessions: make([]Session, 3)}).Write(&packed); err != nil {
		t.Fatal(err)
	}
	for n := range packed.Len() {
		if _, err := ReadRecording(bytes.NewReader(packed.Bytes()[:n])); err == nil {
			t.Errorf("%d of %d bytes are read as a recording", n, packed.Len())
		}
	}
}

// TestRecordingLength checks that a session cannot have a length for which an attack has no memory.
func TestRecordingLength(t *testing.T) {
	for _, length := range []time.Duration{-time.Second, maxLength + time.Second} {
		var packed bytes.Buffer
		if err := (&Recording{Sessions: []Session{{Length: length}}}).Write(&packed); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRecording(&packed); err == nil || !strings.Contains(err.Error(), "session 1 of 1: the length") {
			t.Errorf("%v: got %v", length, err)
		}
	}
}
