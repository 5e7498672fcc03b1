package main

import "time"

// The rules that others published, and that need no learning.
const (
	// ruleVolume: a second with over twice the mean of the minute around it.
	ruleVolume = "volume"
	// ruleBuckets: a second with as many bytes as the smallest such message of the same recording had.
	ruleBuckets = "size buckets"
	// ruleExact: the sizes that the messages have on the wire.
	ruleExact = "exact sizes"
)

const (
	around     = 60 * time.Second // whose mean a second is compared with
	loud       = 2                // times that mean
	maxAnswer  = 5 * time.Second  // between an announcement and the request for it
	maxSending = 2 * time.Second  // between that request and the transaction
)

// RuleResult is how well a published rule finds one kind of action, both directions being seen.
type RuleResult struct {
	Rule, Task, Mode, Client string
	TPR, FPR                 float64 // the shares of windows with the action and without it in which the rule finds one
}

// tryRules tries the rules on the windows that forests get with seed.
func tryRules(c *cell, t task, seed uint64) []RuleResult {
	kind := t.Kind
	windows := c.windows(t, nil, newRand(seed, t.Name, c.mode, c.client))
	rules := []struct {
		name string
		of   func(*Session) []time.Duration
	}{
		{ruleVolume, loudSeconds},
		{ruleBuckets, bucketRule(c, kind)},
		{ruleExact, exactRule(kind)},
	}
	var all []RuleResult
	for _, rule := range rules {
		if rule.of == nil {
			continue
		}
		found := make([][]time.Duration, len(c.sessions))
		for i, s := range c.sessions {
			found[i] = rule.of(s)
		}
		var seen, hits [2]int
		for _, w := range windows {
			seen[class(w.positive)]++
			for _, at := range found[w.session] {
				if at >= w.start && at < w.start+span {
					hits[class(w.positive)]++
					break
				}
			}
		}
		if seen[0] == 0 || seen[1] == 0 {
			continue
		}
		all = append(all, RuleResult{Rule: rule.name, Task: t.Name, Mode: c.mode, Client: c.client,
			TPR: float64(hits[1]) / float64(seen[1]), FPR: float64(hits[0]) / float64(seen[0])})
	}
	return all
}

// bytesBySecond returns how many bytes passed in each second that count says counts.
func bytesBySecond(s *Session, count func(Segment) bool) []int {
	bytes := make([]int, int((s.Length+time.Second-1)/time.Second))
	for _, segment := range s.Segments {
		if second := int(segment.At / time.Second); segment.At >= 0 && second < len(bytes) && count(segment) {
			bytes[second] += segment.Bytes
		}
	}
	return bytes
}

// loudSeconds returns the middles of the seconds that ruleVolume finds.
func loudSeconds(s *Session) []time.Duration {
	bytes := bytesBySecond(s, func(Segment) bool { return true })
	var found []time.Duration
	const half = int(around / time.Second / 2)
	for i, n := range bytes {
		from, to := max(0, i-half), min(len(bytes), i+half+1)
		sum := -n
		for _, other := range bytes[from:to] {
			sum += other
		}
		if n*(to-from-1) > loud*sum {
			found = append(found, middle(i))
		}
	}
	return found
}

// middle returns the middle of a second.
func middle(second int) time.Duration {
	return time.Duration(second)*time.Second + time.Second/2
}

// bucketRule returns ruleBuckets for one kind of action, with the threshold that the truth about the cell gives.
func bucketRule(c *cell, kind string) func(*Session) []time.Duration {
	threshold := 0
	for _, s := range c.sessions {
		for _, a := range s.Actions {
			if a.Kind == kind && a.Size > 0 && (threshold == 0 || a.Size < threshold) {
				threshold = a.Size
			}
		}
	}
	if kind == "announce" {
		threshold = wireHeaders // what announces a block, whatever its size
	}
	if threshold == 0 {
		return nil
	}
	return func(s *Session) []time.Duration {
		var found []time.Duration
		for i, n := range bytesBySecond(s, func(seg Segment) bool { return seg.Up == (kind == "tx") }) {
			if n >= threshold {
				found = append(found, middle(i))
			}
		}
		return found
	}
}

// exactRule returns ruleExact for one kind of action: nil if nobody published one.
func exactRule(kind string) func(*Session) []time.Duration {
	switch kind {
	case "tx":
		return askedFor
	case "announce":
		return func(s *Session) []time.Duration {
			var found []time.Duration
			for _, segment := range s.Segments {
				if !segment.Up && segment.Bytes == wireHeaders {
					found = append(found, segment.At)
				}
			}
			return found
		}
	}
	return nil
}

// askedFor returns when the wallet sent what looks like an inv of one transaction, that the node then asked for, and the
// wallet then sent.
func askedFor(s *Session) []time.Duration {
	var found []time.Duration
	for i, inv := range s.Segments {
		if !inv.Up || inv.Bytes != wireOne {
			continue
		}
		asked := time.Duration(-1)
		for _, next := range s.Segments[i+1:] {
			if asked < 0 {
				if next.At > inv.At+maxAnswer {
					break
				}
				if !next.Up && next.Bytes == wireOne {
					asked = next.At
				}
				continue
			}
			if next.At > asked+maxSending {
				break
			}
			if next.Up && next.Bytes > wireOne {
				found = append(found, inv.At)
				break
			}
		}
	}
	return found
}
