package main

import "slices"

// series is a figure's values, one per round.
type series []float64

// at returns the value that the part q of s does not exceed, interpolated between two values.
func (s series) at(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	i, part := split(q * float64(len(s)-1))
	if part == 0 {
		return sorted[i]
	}
	return sorted[i]*(1-part) + sorted[i+1]*part
}

func split(x float64) (int, float64) { return int(x), x - float64(int(x)) }

func (s series) median() float64 { return s.at(0.5) }

// spread returns half the distance of the quartiles, as a part of the median.
func (s series) spread() float64 {
	if s.median() == 0 {
		return 0
	}
	return (s.at(0.75) - s.at(0.25)) / 2 / s.median()
}

// over returns each round's s divided by its t.
func (s series) over(t series) series {
	all := make(series, len(s))
	for i := range s {
		all[i] = s[i] / t[i]
	}
	return all
}

// once is the series of a figure that is measured once.
func once(x float64) series { return series{x} }
