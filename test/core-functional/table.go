package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

type verdict int

const (
	passed verdict = iota
	failed
	failsAnyway
	failsProxied
	skippedItself
	noSession
)

func (v verdict) String() string {
	return [...]string{"passed", "FAILED", "fails without the proxy, too, at the same line",
		"fails with microsocks in the proxy's place, too, at the same line", "skips itself", "no session"}[v]
}

// row is one test's line in the table.
type row struct {
	name     string
	verdict  verdict
	sessions int // v2
	seconds  int
	why      string
}

func (r row) String() string {
	return fmt.Sprintf("%s: %v, %d v2 sessions, %d s %s", r.name, r.verdict, r.sessions, r.seconds, r.why)
}

// printTable prints Markdown: the passed tests with their sessions, and each other test, also
// each skipped one, with the reason.
func printTable(rows []row, skipped map[string]string) {
	kinds := map[verdict][]row{}
	sessions := 0
	for _, r := range rows {
		kinds[r.verdict] = append(kinds[r.verdict], r)
		if r.verdict == passed {
			sessions += r.sessions
		}
	}
	fmt.Printf("## Passed: %d tests, %d v2 sessions\n\n| test | v2 sessions |\n|---|---|\n", len(kinds[passed]), sessions)
	for _, r := range kinds[passed] {
		fmt.Printf("| %s | %d |\n", r.name, r.sessions)
	}
	for _, v := range []verdict{failed, failsAnyway, failsProxied} {
		if len(kinds[v]) == 0 {
			continue
		}
		fmt.Printf("\n## %v: %d\n\n| test | message |\n|---|---|\n", v, len(kinds[v]))
		for _, r := range kinds[v] {
			fmt.Printf("| %s | %s |\n", r.name, strings.ReplaceAll(r.why, "|", `\|`))
		}
	}
	if none := kinds[noSession]; len(none) > 0 {
		fmt.Printf("\n## No session through the proxy, so nothing proven: %d\n\n%s\n", len(none), list(none))
	}
	if skips := kinds[skippedItself]; len(skips) > 0 {
		fmt.Printf("\n## Skips itself: %d\n\n", len(skips))
		whys := map[string][]row{}
		for _, r := range skips {
			whys[r.why] = append(whys[r.why], r)
		}
		for _, why := range slices.Sorted(maps.Keys(whys)) {
			fmt.Printf("- %s (%d): %s\n", strings.TrimSuffix(why, "."), len(whys[why]), list(whys[why]))
		}
	}
	fmt.Printf("\n## Skipped: %d\n\n| test | why |\n|---|---|\n", len(skipped))
	for _, name := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Printf("| %s | %s |\n", name, skipped[name])
	}
}

// list returns the names of tests in one line.
func list(rows []row) string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ")
}
