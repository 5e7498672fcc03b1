package fallback

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPeersForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Peers)
		p.Note("one:1", SpeaksV1)
		p.Note("two:1", SpeaksV2)
		time.Sleep(lifetimes[SpeaksV1] - time.Second)
		if p.Lookup("one:1") != SpeaksV1 {
			t.Error("the v1 note expired too early")
		}
		time.Sleep(2 * time.Second)
		if p.Lookup("one:1") != SpeaksUnknown || p.Lookup("two:1") != SpeaksV2 {
			t.Error("the v1 note did not expire after a day")
		}
		time.Sleep(lifetimes[SpeaksV2])
		if p.Lookup("two:1") != SpeaksUnknown {
			t.Error("the v2 note did not expire")
		}
	})
}
