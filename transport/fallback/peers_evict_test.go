package fallback

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Any number of peers that answer in v1 or refuse v2 evict no v2 note.
func TestV1EvictsNoV2(t *testing.T) {
	p := new(Peers)
	p.Note("victim:1", SpeaksV2)
	for i := range 2*maxPeers + 10 {
		p.Note(fmt.Sprintf("h:%d", i), SpeaksV1)
		p.Note(fmt.Sprintf("g:%d", i), RefusedV2)
	}
	if got := p.Lookup("victim:1"); got != SpeaksV2 {
		t.Errorf("the victim is known as %v", got)
	}
	if got, want := p.Count(), (PeerCounts{V2: 1, V1: maxPeers, RefusedV2: maxRefused}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Over the limit, expired v2 notes are evicted first, then the least recently used: looked up, or
// noted again.
func TestEvictionByUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Peers)
		note := func(name string, n int) {
			for i := range n {
				p.Note(fmt.Sprintf("%s:%d", name, i), SpeaksV2)
			}
		}
		known := func(addr string) bool { return p.v2.byKey[addr] != nil }
		note("early", 10)
		time.Sleep(29 * day)
		note("late", maxPeers-10)
		p.Lookup("EARLY.:3") // counts as a use
		p.Note("late:0", SpeaksV2)
		note("more", 9)
		if !known("early:3") || known("early:9") || !known("late:0") || !known("late:1") {
			t.Error("the least recently used were not evicted")
		}
		note("again", 2)
		if !known("early:3") || !known("late:0") || known("late:1") || known("late:2") || !known("late:3") {
			t.Error("the least recently used were not evicted the second time")
		}
		for i := 3; i < 100; i++ {
			p.Lookup(fmt.Sprintf("late:%d", i))
		}
		time.Sleep(2 * day) // early:3 was used later than most, but has expired
		note("new", 1)
		if known("early:3") || !known("late:100") {
			t.Error("the expired note was not evicted")
		}
	})
}

// A note that is used now and then is never evicted, whatever else proves v2.
func TestUsedNoteStays(t *testing.T) {
	p := new(Peers)
	p.Note("victim:1", SpeaksV2)
	for i := range 3 * maxPeers {
		p.Note(fmt.Sprintf("h:%d", i), SpeaksV2)
		if i%(maxPeers/2) == 0 && p.Lookup("victim:1") != SpeaksV2 {
			t.Fatalf("the victim was evicted by note %d", i)
		}
	}
}

func TestCanonicalAddr(t *testing.T) {
	onion := "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion"
	for want, spellings := range map[string][]string{
		"node.example:8333":       {"node.example:8333", "NODE.Example:8333", "node.example.:8333", "node.example...:8333", "node.example:08333", "[node.example]:8333"},
		"192.0.2.1:8333":          {"192.0.2.1:8333", "[::ffff:192.0.2.1]:8333", "[::FFFF:c000:201]:8333", "192.0.2.1.:8333", "[192.0.2.1]:008333"},
		"[2001:db8::1]:8333":      {"[2001:DB8::1]:8333", "[2001:db8:0:0:0:0:0:1]:8333", "[2001:0db8::0001]:8333"},
		"[fe80::1%eth0]:8333":     {"[FE80::1%eth0]:8333"},
		onion + ":8333":           {onion + ":8333", "WWW." + onion + ".:8333", "a.b." + onion + ":8333"},
		".onion:1":                {".onion:1"},
		"onion:1":                 {"onion:1"},
		"node.example":            {"node.example", "Node.Example."},
		"pipe":                    {"pipe"},
		":1":                      {":1", ".:1"},
		"xn--bcher-kva.example:1": {"xn--Bcher-KVA.example:1"},
	} {
		for _, addr := range spellings {
			got := CanonicalAddr(addr)
			if got != want || CanonicalAddr(got) != got {
				t.Errorf("%s: got %s, and of that %s, want %s", addr, got, CanonicalAddr(got), want)
			}
		}
	}
}
