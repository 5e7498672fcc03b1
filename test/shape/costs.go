package main

import (
	"math"
	"slices"
	"time"
)

// Cost is what shaping costs a cell.
type Cost struct {
	Mode, Client, Shape string
	Sessions            int
	Up, Down            float64        // bytes a second, one session's
	Factor              float64        // bytes in both directions, compared with the same client without shaping; 0 unknown
	MBPerDay            float64        // upstream, at the recording's pace
	MBError             float64        // its standard error, from the differences between sessions
	Mainnet             float64        // MB a day upstream at mainnet's pace, with false bursts as by default; 0 if unknown
	Transaction         Delay          // until the node accepted an own transaction
	Added               *time.Duration // by shaping, to the median of Transaction; nil if there is nothing to compare with
	Announce            Delay          // until the wallet heard of a block
	CPU                 float64        // seconds for an hour of a session, at both ends
	Overflows           uint64
	Disconnected        int
	MinPing             Delay // the node's least ping times: mostly those of its first pings, before the cells began
	LastPing            Delay // its last ones
}

// Delay is what half and 19 of 20 of some times are not over, and how many there were and should have been.
type Delay struct {
	Median, Most time.Duration
	Count, Of    int
}

func delayOf(times []time.Duration, of int) Delay {
	d := Delay{Count: len(times), Of: of}
	if len(times) == 0 {
		return d
	}
	values := make([]float64, len(times))
	for i, t := range times {
		values[i] = float64(t)
	}
	d.Median, d.Most = time.Duration(quantile(values, 0.5)), time.Duration(quantile(values, 0.95))
	return d
}

// costsOf returns the costs of c; off has the same client's sessions without shaping, or is nil.
func costsOf(r *Recording, c, off *cell) Cost {
	cost := Cost{Mode: c.mode, Client: c.client, Sessions: len(c.sessions)}
	cost.Up, cost.Down = c.pace()
	cost.MBPerDay, cost.MBError = cost.Up*86400/1e6, c.upError()*86400/1e6
	if off != nil {
		if up, down := off.pace(); up+down > 0 {
			cost.Factor = (cost.Up + cost.Down) / (up + down)
		}
	}
	cost.Transaction, cost.Announce = c.delay("tx"), c.delay("announce")
	if off != nil && off != c {
		if without := off.delay("tx"); without.Count > 0 && cost.Transaction.Count > 0 {
			added := cost.Transaction.Median - without.Median
			cost.Added = &added
		}
	}
	if at := slices.IndexFunc(r.Cells, func(o Cell) bool { return o.Mode == c.mode && o.Client == c.client }); at >= 0 {
		extra := r.Cells[at]
		cost.Shape, cost.Overflows, cost.Disconnected = extra.Shape, extra.Overflows, extra.Disconnected
		cost.MinPing, cost.LastPing = delayOf(extra.MinPings, len(extra.MinPings)), delayOf(extra.Pings, len(extra.Pings))
		var hours float64
		for _, s := range c.sessions {
			hours += s.Length.Hours()
		}
		if hours > 0 {
			cost.CPU = (extra.CPU + extra.CPUFar).Seconds() / hours
		}
	}
	cost.Mainnet = c.mainnet(cost.Shape)
	return cost
}

// pace returns the bytes that a session of c sends and receives in a second.
func (c *cell) pace() (up, down float64) {
	var length float64
	for _, s := range c.sessions {
		length += s.Length.Seconds()
		for _, segment := range s.Segments {
			if segment.Up {
				up += float64(segment.Bytes)
			} else {
				down += float64(segment.Bytes)
			}
		}
	}
	if length == 0 {
		return 0, 0
	}
	return up / length, down / length
}

// upError returns the standard error of the bytes that a session of c sends in a second.
func (c *cell) upError() float64 {
	var sum, squares float64
	for _, s := range c.sessions {
		up, _ := (&cell{sessions: []*Session{s}}).pace()
		sum += up
		squares += up * up
	}
	n := float64(len(c.sessions))
	if n < 2 {
		return 0
	}
	return math.Sqrt(max(0, squares-sum*sum/n) / (n - 1) / n)
}

// delay returns how long one kind of action took, those apart that did not end.
func (c *cell) delay(kind string) Delay {
	var times []time.Duration
	of := 0
	for _, s := range c.sessions {
		for _, a := range s.Actions {
			if a.Kind == kind {
				of++
				if a.Until > 0 {
					times = append(times, a.Until-a.At)
				}
			}
		}
	}
	return delayOf(times, of)
}

// medianSize returns the median size of what all wallets got of one kind: 0 if nothing.
func medianSize(r *Recording, kind string) int {
	var sizes []float64
	for _, s := range r.Sessions {
		for _, a := range s.Actions {
			if a.Kind == kind && a.Until > 0 {
				sizes = append(sizes, float64(a.Size))
			}
		}
	}
	return int(quantile(sizes, 0.5))
}
