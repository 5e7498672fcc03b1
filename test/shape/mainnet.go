package main

import "bip324proxy/transport"

// writesADay is how many small messages a light wallet sends in a day on mainnet: a ping and a pong every two minutes, and
// requests for headers, filter headers and a filter for each of 144 blocks.
const writesADay = 2*720 + 3*144

// mainnet returns how many MB a session of c with a shape would send upstream in a day on mainnet. Without cells that is
// the mean write as often as a light wallet writes. Cells come whatever is sent; there, fakes has its default, since the
// recording's is for its own pace. It is 0 for noisy without cells, which depends on how many transactions others send.
func (c *cell) mainnet(text string) float64 {
	shape, err := transport.ParseShape(text)
	switch {
	case err != nil:
		return 0
	case c.mode == modeCover || c.mode == modeTunnel:
		shape.Fakes = 0
		return float64(shape.FillerPerDay()) / 1e6
	case c.client == "noisy":
		return 0
	}
	return c.meanWrite() * writesADay / 1e6
}

// meanWrite returns the mean size of what the sessions of c wrote upstream.
func (c *cell) meanWrite() float64 {
	var sum, n float64
	for _, s := range c.sessions {
		for _, write := range writes(viewUp.of(s.Segments)) {
			sum += float64(write)
			n++
		}
	}
	return sum / max(1, n)
}
