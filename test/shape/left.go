package main

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// SizeResult is what is left of the sizes of own transactions for an attacker who knows when each was sent.
type SizeResult struct {
	Mode, Client string
	Transactions int
	Bits         float64 // what the sizes of these transactions say: their entropy
	Left         float64 // what the sizes of the writes that carried them say
	Alone        float64 // the share of transactions that no other size of transaction looks like
	// ListBits and ListLeft are Bits and Left of the list that wallets draw sizes from, if each of it is carried as the
	// recorded transactions with the nearest sizes were, in any cell of the same mode.
	ListBits, ListLeft float64
}

// like is how many recorded transactions one of the list is like.
const like = 3

// carried is a transaction's size, and that of the write that carried it.
type carried struct{ size, write int }

// sizesLeft compares the sizes of the own transactions of each cell with the writes that carried them.
func sizesLeft(cells []*cell, list []int) []SizeResult {
	modes := map[string][]carried{}
	var all []SizeResult
	for _, c := range cells {
		own := carriedBy(c)
		modes[c.mode] = append(modes[c.mode], own...)
		result := leftOf(own)
		result.Mode, result.Client = c.mode, c.client
		all = append(all, result)
	}
	for i := range all {
		listed := leftOf(carryLike(modes[all[i].Mode], list))
		all[i].ListBits, all[i].ListLeft = listed.Bits, listed.Left
	}
	return all
}

// carryLike returns the list of sizes with writes as those of known. If nearly all of known, of several sizes, are carried
// by writes that are larger by the same, all sizes are.
func carryLike(known []carried, list []int) []carried {
	if len(known) == 0 {
		return nil
	}
	more, sizes := map[int]int{}, map[int]map[int]bool{}
	for _, tx := range known {
		by := tx.write - tx.size
		if more[by]++; sizes[by] == nil {
			sizes[by] = map[int]bool{}
		}
		sizes[by][tx.size] = true
	}
	sorted := slices.Clone(known)
	slices.SortStableFunc(sorted, func(a, b carried) int { return cmp.Compare(a.size, b.size) })
	all := make([]carried, len(list))
	for i, size := range list {
		all[i] = carried{size, nearest(sorted, size)}
		for by, n := range more {
			if 10*n >= 9*len(known) && len(sizes[by]) > 1 {
				all[i].write = size + by
			}
		}
	}
	return all
}

// nearest returns the write of the one of sorted, which is not empty, whose size is nearest: the median of three, since other
// messages, or a false burst, may have been sent meanwhile.
func nearest(sorted []carried, size int) int {
	from, _ := slices.BinarySearchFunc(sorted, size, func(tx carried, size int) int { return cmp.Compare(tx.size, size) })
	to := from
	for to-from < min(like, len(sorted)) {
		if to == len(sorted) || from > 0 && size-sorted[from-1].size < sorted[to].size-size {
			from--
		} else {
			to++
		}
	}
	writes := make([]int, 0, like)
	for _, tx := range sorted[from:to] {
		writes = append(writes, tx.write)
	}
	slices.Sort(writes)
	return writes[(len(writes)-1)/2]
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
			for _, write := range writes(within(up, a.At, a.Until)) {
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
// alone, or on chance: its entropy is the most that it can say, and no more than there is to be said.
func leftOf(all []carried) SizeResult {
	sizes, writes := map[int]int{}, map[int]int{}
	alike := map[int]map[int]bool{} // the sizes of transactions by that of the write
	for _, tx := range all {
		sizes[tx.size]++
		writes[tx.write]++
		if alike[tx.write] == nil {
			alike[tx.write] = map[int]bool{}
		}
		alike[tx.write][tx.size] = true
	}
	result := SizeResult{Transactions: len(all), Bits: entropy(sizes, len(all))}
	result.Left = min(result.Bits, entropy(writes, len(all)))
	for _, tx := range all {
		if len(alike[tx.write]) == 1 {
			result.Alone += 1 / float64(len(all))
		}
	}
	return result
}

// entropy returns the entropy in bits of what was counted total times in all.
func entropy(counts map[int]int, total int) float64 {
	var bits float64
	for _, n := range slices.Sorted(maps.Values(counts)) { // in the same order each time: so is what rounding does
		p := float64(n) / float64(total)
		bits -= p * math.Log2(p)
	}
	return bits
}
