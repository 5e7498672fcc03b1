package main

import (
	"slices"
	"testing"
)

// TestTransactionSizes checks that the list has the published shares.
func TestTransactionSizes(t *testing.T) {
	under := func(limit int) (n int) {
		for _, size := range transactionSizes {
			if size < limit {
				n++
			}
		}
		return n
	}
	if n := len(transactionSizes); n != 1000 || !slices.IsSorted(transactionSizes) {
		t.Fatalf("the list has %d sizes, sorted %v; want 1000 in ascending order", n, slices.IsSorted(transactionSizes))
	}
	if got := transactionSizes[500]; got != 225 {
		t.Errorf("the median is %d bytes, want 225", got)
	}
	if got := [2]int{under(1000), under(3000)}; got != [2]int{969, 990} {
		t.Errorf("%d sizes are under 1,000 bytes and %d under 3,000, want 969 and 990", got[0], got[1])
	}
}
