package transport

import (
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// transactionSizes returns sizes of transactions in bytes, with mainnet's published shares: the
// median is 225 bytes, 96.9 % are under 1,000 bytes and 99 % under 3,000.
func transactionSizes(t *testing.T) (sizes []int) {
	t.Helper()
	text, err := os.ReadFile("../test/shape/sizes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// entropy returns the entropy of values in bits.
func entropy(values []int) (bits float64) {
	counts := make(map[int]int)
	for _, v := range values {
		counts[v]++
	}
	for n := range maps.Values(counts) {
		p := float64(n) / float64(len(values))
		bits -= p * math.Log2(p)
	}
	return bits
}

// writeSizes returns the size of the one write that each message makes.
func writeSizes(t *testing.T, shape Shape, contents []int) []int {
	t.Helper()
	conn := watch(&fitsConn{fits: -1}, 0)
	client, _ := shapedConn(t, conn, shape)
	for _, n := range contents {
		if err := client.WritePacket(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	if len(conn.writes) != len(contents) {
		t.Fatalf("%d writes for %d messages", len(conn.writes), len(contents))
	}
	return conn.writes
}

// The size of a write says at most 0.3 bits about the size of a transaction with the default
// bucket; without a shape it says everything. Since it depends on that size alone, what it says is
// its entropy.
func TestPadHidesSizes(t *testing.T) {
	var contents []int
	for _, n := range transactionSizes(t) {
		contents = append(contents, 1+n) // the type has one byte
	}
	all := entropy(contents)
	if off := entropy(writeSizes(t, Shape{}, contents)); math.Abs(off-all) > 1e-9 {
		t.Errorf("without a shape %.2f bits are left of %.2f", off, all)
	}
	last := all
	for _, bucket := range buckets {
		writes := writeSizes(t, Shape{Mode: ShapePad, Bucket: bucket}, contents)
		left := entropy(writes)
		t.Logf("bucket=%d: %.2f of %.2f bits are left, in writes of %d sizes", bucket, left, all, len(slices.Compact(slices.Sorted(slices.Values(writes)))))
		if left > last+1e-9 {
			t.Errorf("bucket=%d leaves more than the next smaller one: %.2f bits", bucket, left)
		}
		if last = left; bucket == defaultBucket && left > 0.3 {
			t.Errorf("the default bucket leaves %.2f bits, want 0.3 at most", left)
		}
	}
}

// A light client's day costs at most 3 MB with each peer: pings and pongs every two minutes, and
// for each block a request for its header, its filter's header and its filter. All its messages
// have the same size.
func TestPadCostOfDay(t *testing.T) {
	var day []int
	for range 24 * 30 { // every two minutes
		day = append(day, 1+8, 1+8)
	}
	for range 24 * 6 { // blocks
		day = append(day, 1+4+1+10*32+32, 1+1+4+32, 1+1+4+32)
	}
	sum := func(sizes []int) (n int) {
		for _, size := range sizes {
			n += size
		}
		return n
	}
	off, pad := writeSizes(t, Shape{}, day), writeSizes(t, Shape{Mode: ShapePad}, day)
	t.Logf("%d messages: %d bytes, %d with pad", len(day), sum(off), sum(pad))
	if n := sum(pad); n > 3e6 || n < sum(off) {
		t.Errorf("%d bytes with pad, %d without", n, sum(off))
	}
	if sizes := slices.Compact(pad); len(sizes) != 1 {
		t.Errorf("writes of %v bytes, want one size", sizes)
	}
}
