package main

import "math"

// SizeResult is what is left of the sizes of own transactions for an attacker who knows when each was sent.
type SizeResult struct {
	Mode, Client string
	Transactions int
	Bits         float64 // what the sizes of these transactions say: their entropy
	Left         float64 // what the sizes of the writes that carried them say
	Alone        float64 // the share of transactions that no other size of transaction looks like
}

// carried is a transaction's size, and that of the write that carried it.
type carried struct{ size, write int }

// sizesLeft compares the sizes of the own transactions of a cell with the writes that carried them.
func sizesLeft(c *cell) SizeResult {
	result := leftOf(carriedBy(c))
	result.Mode, result.Client = c.mode, c.client
	return result
}

// carriedBy returns all own transactions of a cell. The largest write upstream between an announcement and the node's
// acceptance counts as what carried the transaction: in modes that hide this, the attacker is given more than it has.
func carriedBy(c *cell) []carried {
	var all []carried
	for _, s := range c.sessions {
		up := viewUp.of(s.Segments)
		for _, a := range s.Actions {
			if a.Kind != "tx" || a.Size == 0 || a.Until == 0 {
				continue
			}
			largest := 0
			for _, write := range writes(between(up, a.At, a.Until)) {
				largest = max(largest, write)
			}
			if largest > 0 {
				all = append(all, carried{a.Size, largest})
			}
		}
	}
	return all
}

// writes returns the sizes of segments of one direction, those that follow each other at once being one.
func writes(segments []Segment) []int {
	var sizes []int
	for i, s := range segments {
		if i > 0 && s.At-segments[i-1].At <= joinGap {
			sizes[len(sizes)-1] += s.Bytes
			continue
		}
		sizes = append(sizes, s.Bytes)
	}
	return sizes
}

// leftOf returns the entropies of the sizes of transactions and of writes. A write's size depends on the transaction's
// alone, or on chance: its entropy is the most that it can say.
func leftOf(all []carried) SizeResult {
	sizes, writes := map[int]int{}, map[int]int{}
	like := map[int]map[int]bool{} // the sizes of transactions by that of the write
	for _, tx := range all {
		sizes[tx.size]++
		writes[tx.write]++
		if like[tx.write] == nil {
			like[tx.write] = map[int]bool{}
		}
		like[tx.write][tx.size] = true
	}
	result := SizeResult{Transactions: len(all), Bits: entropy(sizes, len(all)), Left: entropy(writes, len(all))}
	for _, tx := range all {
		if len(like[tx.write]) == 1 {
			result.Alone += 1 / float64(len(all))
		}
	}
	return result
}

// entropy returns the entropy in bits of what was counted total times in all.
func entropy(counts map[int]int, total int) float64 {
	var bits float64
	for _, n := range counts {
		p := float64(n) / float64(total)
		bits -= p * math.Log2(p)
	}
	return bits
}
