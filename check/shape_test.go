package check

import (
	"testing"

	"bip324proxy/proxy"
	"bip324proxy/transport"
)

// Each shape that is set has a line with its cost and with what it does not hide.
func TestShape(t *testing.T) {
	s := &Subject{Shapes: []Shape{
		{transport.Shape{Mode: transport.ShapeCover}, "", "up to 44 MB a day"},
		{transport.Shape{}, "127.0.0.1:1", ""},
		{transport.Shape{Mode: transport.ShapePad, Bucket: 512}, "127.0.0.1:2", "depends"},
		{transport.Shape{Mode: transport.ShapeCore}, "127.0.0.1:3", ""},
		{transport.Shape{Mode: transport.ShapeTunnel}, "0.0.0.0:8333", "as much"},
	}, Policy: proxy.Policy{DenyPassthrough: true}}
	if n := len(s.shapes()); n != 4 {
		t.Fatalf("%d lines, want one for each shape that is set", n)
	}
	for i, want := range []string{
		"ok shape clients' sessions: cover; cost: up to 44 MB a day -> it does not hide anything that the peer sends",
		"ok shape ADDR: pad,bucket=512; cost: depends -> it does not hide when something is sent, nor anything that the peer sends",
		"ok shape ADDR: core -> it hides no size and no time",
		"ok shape 0.0.0.0:8333: tunnel; cost: as much -> it hides what the peer sends only if the peer is a bip324-proxy with such a shape, too",
	} {
		if got := text(t, &Report{Checks: s.shapes()[i : i+1]}); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	s.Shapes, s.Policy.DenyPassthrough = s.Shapes[3:4], false
	if got, want := text(t, &Report{Checks: s.shapes()}), "ok shape ADDR: core -> it hides no size and no time; only sessions on v2 are shaped"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
