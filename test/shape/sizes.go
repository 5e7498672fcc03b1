package main

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed sizes.txt
var sizesText string

// transactionSizes are the sizes of the wallets' transactions in bytes, in ascending order. They
// are drawn from a model of inputs, outputs and script types that has the published shares of
// mainnet's: the median is 225 bytes, 96.9 % are under 1,000 bytes and 99 % under 3,000.
var transactionSizes = parseSizes(sizesText)

func parseSizes(text string) (sizes []int) {
	for word := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(word)
		if err != nil {
			panic(fmt.Sprintf("sizes.txt: %v", err)) // it is part of the program
		}
		sizes = append(sizes, n)
	}
	return sizes
}
