//go:build !unix

package main

// raiseDescriptorLimit has nothing to raise here.
func raiseDescriptorLimit() {}
