package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// What the points of the growth scenario are of.
const (
	ofProxy = "proxy"
	ofRelay = "relay"
)

// points are the values that the growth scenarios measured.
type points struct {
	file string // that keeps them; empty for none
	// values are by what they are of, by quantity, and by the number of sessions: one for each round.
	values map[string]map[string]map[int]series
}

func (p *points) add(of, what string, sessions int, value float64) {
	if p.values[of] == nil {
		p.values[of] = make(map[string]map[int]series)
	}
	if p.values[of][what] == nil {
		p.values[of][what] = make(map[int]series)
	}
	p.values[of][what][sessions] = append(p.values[of][what][sessions], value)
}

// readPoints reads the points of earlier rounds from a file, which need not exist yet.
func readPoints(file string) (p points, err error) {
	p = points{file, make(map[string]map[string]map[int]series)}
	if file == "" {
		return p, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p.values)
	}
	if err != nil {
		return p, fmt.Errorf("-points %s: %w", file, err)
	}
	return p, nil
}

// write writes the points to their file, if they have one.
func (p *points) write() error {
	if p.file == "" {
		return nil
	}
	text, err := json.Marshal(p.values)
	if err != nil {
		return err
	}
	return os.WriteFile(p.file, text, 0o644)
}

// curve returns the medians of a quantity by the number of sessions.
func (p *points) curve(of, what string) map[int]float64 {
	medians := make(map[int]float64)
	for n, values := range p.values[of][what] {
		medians[n] = values.median()
	}
	return medians
}

// sizes returns the numbers of sessions of all points, ascending.
func (p *points) sizes() []int {
	all := make(map[int]bool)
	for _, quantities := range p.values {
		for _, bySize := range quantities {
			for n := range bySize {
				all[n] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// growthQuantities are the rows of the table.
var growthQuantities = []string{residentNew, residentUsed, idleCPU, messageBusy, messageSlow, connectCPU, pingMedian, pingTail}

// table formats the medians as Markdown: the proxy's and, in parentheses, the relay's.
func (p *points) table() string {
	var b strings.Builder
	b.WriteString("\n| with so many sessions open |")
	sizes := p.sizes()
	for _, n := range sizes {
		b.WriteString(" " + grouped(n) + " |")
	}
	b.WriteString(" rounds |\n|---|" + strings.Repeat("---|", len(sizes)+1) + "\n")
	for _, what := range growthQuantities {
		proxy, relay := p.curve(ofProxy, what), p.curve(ofRelay, what)
		if len(proxy) == 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s |", what)
		times := 0
		for _, n := range sizes {
			cell := ""
			if x, ok := proxy[n]; ok {
				cell = figure(x)
			}
			if x, ok := relay[n]; ok {
				cell += " (" + figure(x) + ")"
			}
			times = max(times, len(p.values[ofProxy][what][n]))
			fmt.Fprintf(&b, " %s |", cell)
		}
		fmt.Fprintf(&b, " %d |\n", times)
	}
	return b.String()
}
