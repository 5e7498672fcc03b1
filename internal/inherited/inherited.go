// Package inherited is about the files that this program was started with, when they are those of
// a command that it runs.
package inherited
