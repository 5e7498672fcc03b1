package proxy

import (
	"fmt"
	"testing"
	"time"

	"bip324proxy/transport/fallback"
)

// Repeated failures of one peer are one row, and hide no others.
func TestRepeatsAreOneRow(t *testing.T) {
	tally := newTally(RefusalKinds)
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	fail := func(i int, dest, client, kind, reason string) {
		s := &session{server: new(Server), policy: new(Policy), dialer: new(fallback.Dialer), shown: SessionInfo{Dest: dest, Client: client}}
		o := s.outcomeOf(ErrPeerClosed)
		o.Kind, o.Reason, o.like.kind = kind, reason, kind
		o.Time = began.Add(time.Duration(i) * time.Second)
		tally.add(o, Traffic{})
	}
	fail(0, "192.0.2.1:8333", "127.0.0.1:1", KindDial, "once")
	for i := 1; i <= 200; i++ {
		fail(i, "192.0.2.2:8333", fmt.Sprintf("127.0.0.1:%d", i), KindNoV2Answer, fmt.Sprintf("%d bytes sent", i))
	}
	fail(201, "192.0.2.1:8333", "127.0.0.1:9", KindNoV2Answer, "another kind")
	var s Snapshot
	tally.copyTo(&s.Counts)
	if len(s.Refusals) != 3 {
		t.Fatalf("%d rows, want 3", len(s.Refusals))
	}
	r := s.Refusals[1]
	if r.Count != 200 || !r.First.Equal(began.Add(time.Second)) || !r.Time.Equal(began.Add(200*time.Second)) || r.Reason != "200 bytes sent" || r.Client != "127.0.0.1:200" {
		t.Errorf("got %+v", r)
	}
	if s.Refusals[0].Reason != "another kind" || s.Refusals[2].Reason != "once" || s.Refusals[2].Count != 1 || s.Refused[KindNoV2Answer] != 201 {
		t.Errorf("got %+v", s.Refusals)
	}
	if f := s.Failing; f == nil || f.Count != 202 || f.Kind != KindNoV2Answer || f.OfKind != 201 || f.Reason != "another kind" || !f.Since.Equal(began) {
		t.Errorf("got %+v", f)
	}
	// Only the last fifty distinct ones are kept.
	for i := range 500 {
		fail(300+i, fmt.Sprintf("10.0.%d.%d:8333", i/256, i%256), "127.0.0.1:1", KindDial, "x")
	}
	tally.copyTo(&s.Counts)
	if len(s.Refusals) != keepOutcomes || s.Refusals[0].Dest != "10.0.1.243:8333" || s.Refusals[49].Dest != "10.0.1.194:8333" {
		t.Errorf("got %d rows, from %s to %s", len(s.Refusals), s.Refusals[0].Dest, s.Refusals[49].Dest)
	}
	tally.open("v2")
	if tally.copyTo(&s.Counts); s.Failing != nil {
		t.Errorf("after a session opened: got %+v", s.Failing)
	}
}

func BenchmarkDistinctRefusals(b *testing.B) {
	tally := newTally(RefusalKinds)
	all := make([]Outcome, 1000)
	for i := range all {
		dest := fmt.Sprintf("10.0.%d.%d:8333", i/256, i%256)
		all[i] = Outcome{Kind: KindDial, Dest: dest, Time: time.Now(), why: refusalOf(ErrPeerClosed), like: alike{kind: KindDial, dest: dest}}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tally.add(all[i%len(all)], Traffic{})
	}
}
