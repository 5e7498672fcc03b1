package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// sizeEdges are the ends of the bins that segments are counted in by size: the sizes of small messages on the wire (22
// headers without one, 29 ping and pong, 58 an inv or a getdata of one, 103 headers with one) and powers of two.
var sizeEdges = []int{21, 22, 28, 29, 57, 58, 102, 103, 127, 255, 511, 1023, 1024, 2047, 4095, 16383, 16384}

const (
	parts    = int(span / (500 * time.Millisecond)) // whose bytes are counted
	largest  = 4                                    // segments whose sizes are features
	earliest = 12                                   // segments whose sizes and times are features
	joinGap  = 2 * time.Millisecond                 // between the parts of one write, at most
)

// The sizes of messages on the wire that patterns consist of.
const (
	wireOne     = 58  // an inv or a getdata with one entry
	wireHeaders = 103 // headers with one
	wirePing    = 29
)

// features returns what a window that begins at start shows. Segments are all that is seen of the session.
func features(segments []Segment, start time.Duration) []float32 {
	segments = within(segments, start, start+span)
	row := make([]float32, 0, 150)
	var bytes [2]float32
	for i, up := range []bool{true, false} {
		var own []Segment
		for _, s := range segments {
			if s.Up == up {
				own = append(own, s)
				bytes[i] += float32(s.Bytes)
			}
		}
		row = appendDirection(row, own, start)
	}
	row = append(row, float32(len(segments)), bytes[0]+bytes[1], bytes[0]/max(1, bytes[0]+bytes[1]))
	row = appendGaps(row, segments)
	row = appendFirst(row, segments, start)
	return appendPatterns(row, segments)
}

// within returns the segments from one time to just before another.
func within(segments []Segment, from, to time.Duration) []Segment {
	byTime := func(s Segment, at time.Duration) int { return cmp.Compare(s.At, at) }
	first, _ := slices.BinarySearchFunc(segments, from, byTime)
	last, _ := slices.BinarySearchFunc(segments, to, byTime)
	return segments[first:max(first, last)]
}

// appendDirection appends the features of one direction.
func appendDirection(row []float32, segments []Segment, start time.Duration) []float32 {
	var bins [18]float32
	var halves [parts]float32
	sizes := make([]int, len(segments))
	var sum, squares float64
	var run, longest, writes int
	var peak time.Duration
	top := 0
	for i, s := range segments {
		sizes[i] = s.Bytes
		bin, _ := slices.BinarySearch(sizeEdges, s.Bytes)
		bins[bin]++
		halves[min(parts-1, int((s.At-start)*time.Duration(parts)/span))] += float32(s.Bytes)
		sum += float64(s.Bytes)
		squares += float64(s.Bytes) * float64(s.Bytes)
		if i == 0 || s.At-segments[i-1].At > joinGap {
			run = 0
			writes++
		}
		run += s.Bytes
		longest = max(longest, run)
		if s.Bytes > top {
			top, peak = s.Bytes, s.At-start
		}
	}
	slices.Sort(sizes)
	n := max(1, float64(len(sizes)))
	mean := sum / n
	var least, median int
	if len(sizes) > 0 {
		least, median = sizes[0], sizes[len(sizes)/2]
	}
	row = append(row, float32(len(sizes)), float32(sum), float32(mean), float32(math.Sqrt(max(0, squares/n-mean*mean))),
		float32(least), float32(median), float32(writes), float32(longest), seconds(peak))
	row = append(row, bins[:]...)
	for i := range largest {
		var size int
		if i < len(sizes) {
			size = sizes[len(sizes)-1-i]
		}
		row = append(row, float32(size))
	}
	row = append(row, float32(len(slices.Compact(sizes))))
	row = append(row, halves[:]...)
	return appendGaps(row, segments)
}

// appendGaps appends the mean, deviation, least and largest of the times between segments: span if there are none.
func appendGaps(row []float32, segments []Segment) []float32 {
	if len(segments) < 2 {
		all := seconds(span)
		return append(row, all, 0, all, all)
	}
	var sum, squares, longest float64
	least := math.Inf(1)
	for i, s := range segments[1:] {
		gap := (s.At - segments[i].At).Seconds()
		sum += gap
		squares += gap * gap
		least, longest = min(least, gap), max(longest, gap)
	}
	n := float64(len(segments) - 1)
	mean := sum / n
	return append(row, float32(mean), float32(math.Sqrt(max(0, squares/n-mean*mean))), float32(least), float32(longest))
}

// appendFirst appends the sizes, negative if down, and times of the first segments.
func appendFirst(row []float32, segments []Segment, start time.Duration) []float32 {
	for i := range earliest {
		if i >= len(segments) {
			row = append(row, 0, seconds(span))
			continue
		}
		size := float32(segments[i].Bytes)
		if !segments[i].Up {
			size = -size
		}
		row = append(row, size, seconds(segments[i].At-start))
	}
	return row
}

// appendPatterns appends what one message and the answer to it look like.
func appendPatterns(row []float32, segments []Segment) []float32 {
	var asked, headers, pings, sent float32
	wait, answer := seconds(span), seconds(span)
	for i, s := range segments {
		switch {
		case !s.Up && s.Bytes == wireHeaders:
			headers++
		case s.Bytes == wirePing:
			pings++
		}
		if i == 0 {
			continue
		}
		last := segments[i-1]
		if last.Up && !s.Up {
			answer = min(answer, seconds(s.At-last.At))
		}
		if last.Up && last.Bytes == wireOne && !s.Up && s.Bytes == wireOne {
			if asked == 0 {
				wait = seconds(s.At - last.At)
			}
			asked++
			if i+1 < len(segments) && segments[i+1].Up {
				sent = max(sent, float32(segments[i+1].Bytes))
			}
		}
	}
	return append(row, asked, wait, sent, headers, pings, answer)
}

func seconds(d time.Duration) float32 { return float32(d.Seconds()) }
