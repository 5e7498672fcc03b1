package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// line is a curve of a panel.
type line struct{ of, what, label string }

// panel is a diagram of the plot; its y axis begins at 0.
type panel struct {
	title string
	lines []line
}

var panels = []panel{
	{"resident KiB per session", []line{{ofProxy, residentUsed, "after messages"}, {ofProxy, residentNew, "before them"}}},
	{"CPU µs per message", []line{{ofProxy, messageSlow, "3,000/s"}, {ofProxy, messageBusy, "flat out"}, {ofRelay, messageSlow, "relay, 3,000/s"}, {ofRelay, messageBusy, "relay, flat out"}}},
	{"CPU µs per connect", []line{{ofProxy, connectCPU, "proxy"}, {ofRelay, connectCPU, "relay"}}},
	{"ping, µs", []line{{ofProxy, pingTail, "p99"}, {ofProxy, pingMedian, "p50"}, {ofRelay, pingTail, "relay, p99"}, {ofRelay, pingMedian, "relay, p50"}}},
}

// Sizes of the plot, in pixels.
const (
	panelWidth, panelHeight  = 400, 240
	left, right, top, bottom = 46, 96, 34, 30 // margins in a panel; labels are in the right one
	labelHeight              = 13
)

// plotStyle has the colours for a light and a dark page.
const plotStyle = `
svg { background: #fff; font: 12px system-ui, sans-serif; }
text { fill: #1f2328; }
.grid { stroke: #d1d9e0; }
polyline { fill: none; stroke-width: 2; }
.proxy { stroke: #0969da; }
.relay { stroke: #656d76; stroke-dasharray: 5 3; }
text.proxy { stroke: none; fill: #0969da; }
text.relay { stroke: none; fill: #656d76; }
@media (prefers-color-scheme: dark) {
	svg { background: #0d1117; }
	text { fill: #e6edf3; }
	.grid { stroke: #30363d; }
	.proxy { stroke: #58a6ff; }
	.relay { stroke: #9198a1; }
	text.proxy { fill: #58a6ff; }
	text.relay { fill: #9198a1; }
}
`

// plot draws the medians as SVG: a panel for each quantity, over the number of sessions.
func (p *points) plot(name string) error {
	var b strings.Builder
	columns := 2
	rows := (len(panels) + columns - 1) / columns
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`, columns*panelWidth, rows*panelHeight)
	fmt.Fprintf(&b, "\n<title>Cost by the number of open sessions</title>\n<style>%s</style>\n", plotStyle)
	for i, each := range panels {
		fmt.Fprintf(&b, "<g transform=\"translate(%d %d)\">\n", i%columns*panelWidth, i/columns*panelHeight)
		each.draw(&b, p)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

// draw draws the panel at the origin.
func (d panel) draw(b *strings.Builder, p *points) {
	sizes := p.sizes()
	var most float64
	for _, l := range d.lines {
		for _, y := range p.curve(l.of, l.what) {
			most = max(most, y)
		}
	}
	step := gridStep(most)
	most = step * math.Ceil(most/step)
	first, last := math.Log10(float64(sizes[0])), math.Log10(float64(sizes[len(sizes)-1]))
	x := func(n int) float64 {
		return left + (math.Log10(float64(n))-first)/max(last-first, 1)*(panelWidth-left-right)
	}
	y := func(value float64) float64 { return panelHeight - bottom - value/most*(panelHeight-top-bottom) }

	fmt.Fprintf(b, "<text x=\"%d\" y=\"20\" font-weight=\"600\">%s</text>\n", left, d.title)
	for value := 0.0; value <= most; value += step {
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", left, y(value), panelWidth-right)
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", left-6, y(value)+4, value)
	}
	for _, n := range sizes {
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x(n), panelHeight-bottom+18, grouped(n))
	}
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\">open sessions</text>\n", panelWidth-right+22, panelHeight-bottom+18)
	end := sizes[len(sizes)-1]
	lines := slices.SortedFunc(slices.Values(d.lines), func(a, b line) int { // as they end, so that their labels do not cross
		return cmp.Compare(p.curve(b.of, b.what)[end], p.curve(a.of, a.what)[end])
	})
	lowest := math.Inf(-1) // of the labels so far
	for _, l := range lines {
		curve := p.curve(l.of, l.what)
		fmt.Fprintf(b, `<polyline class="%s" points="`, l.of)
		for _, n := range sizes {
			fmt.Fprintf(b, "%.1f,%.1f ", x(n), y(curve[n]))
		}
		b.WriteString("\"/>")
		lowest = max(y(curve[end])+4, lowest+labelHeight)
		fmt.Fprintf(b, "<text class=\"%s\" x=\"%d\" y=\"%.1f\">%s</text>\n", l.of, panelWidth-right+6, lowest, l.label)
	}
}

// gridStep returns the distance of grid lines for values up to most: 1, 2 or 5 times a power of ten, at most five.
func gridStep(most float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{0.2, 0.5} {
		if most <= 5*part*step {
			return part * step
		}
	}
	return step * math.Ceil(most/step/5)
}

// grouped formats n with commas.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
