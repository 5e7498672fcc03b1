package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// scenario is one measurement; it returns rows of the table.
type scenario struct {
	name  string
	run   func(*bench) ([]row, error)
	apart bool // runs only if named: it has a table apart
}

var scenarios = []scenario{
	{name: "blocks down", run: transfers("blocks of 1.5 MB, down", blocks, nil, perGB, 1.10)},
	{name: "blocks up", run: transfers("blocks of 1.5 MB, up", nil, blocks, perGB, 1.10)},
	{name: "initial sync", run: transfers("initial sync", syncDown, syncUp, perGB, 1.10)},
	{name: "steady relay", run: transfers("steady relay", relayed, relayed, perMessage, 1.45)},
	{name: "inv down", run: transfers("inv of 37 bytes, down", invs, nil, perMessage, 1.35)},
	{name: "inv up", run: transfers("inv of 37 bytes, up", nil, invs, perMessage, 1.35)},
	{name: "passthrough", run: (*bench).passthrough},
	{name: "ping", run: (*bench).ping},
	{name: "connect", run: (*bench).connects},
	{name: "key exchange", run: (*bench).keyExchange},
	{name: "idle 2000", run: func(b *bench) ([]row, error) { return b.idle(2_000) }},
	{name: "idle 10000", run: func(b *bench) ([]row, error) { return b.idle(10_000) }},
	{name: "stalled", run: (*bench).stalled},
	{name: "inbound", run: (*bench).inbound, apart: true},
	{name: "growth", run: (*bench).growth, apart: true},
	{name: "growth, few idle", run: func(b *bench) ([]row, error) { return b.growthIdle(false) }, apart: true},
	{name: "growth, many idle", run: func(b *bench) ([]row, error) { return b.growthIdle(true) }, apart: true},
	{name: "growth, status", run: (*bench).growthStatus, apart: true},
	{name: "under run", run: (*bench).run, apart: true},
	{name: "library", run: (*bench).library, apart: true},
	{name: "beside: blocks down", run: func(b *bench) ([]row, error) { return b.besideBlocks("down") }, apart: true},
	{name: "beside: blocks up", run: func(b *bench) ([]row, error) { return b.besideBlocks("up") }, apart: true},
	{name: "beside: inv down", run: func(b *bench) ([]row, error) { return b.besideInvs("down") }, apart: true},
	{name: "beside: inv up", run: func(b *bench) ([]row, error) { return b.besideInvs("up") }, apart: true},
	{name: "beside: connect", run: (*bench).besideConnects, apart: true},
	{name: "beside: idle", run: (*bench).besideIdle, apart: true},
}

func transfers(what string, down, up traffic, per unit, target float64) func(*bench) ([]row, error) {
	return func(b *bench) ([]row, error) { return b.transfers(what, down, up, per, target) }
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == relayCommand {
		fmt.Fprintln(os.Stderr, serveRelay(relays[os.Args[2]]))
		os.Exit(1)
	}
	if len(os.Args) == 5 && os.Args[1] == clientCommand {
		fmt.Fprintln(os.Stderr, serveClient(os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	quick := flag.Bool("quick", false, "little data: shows that it works, measures nothing well")
	rounds := flag.Int("rounds", 5, "measure `N` times, the proxy and its limit in turn")
	pattern := flag.String("run", "", "only the scenarios whose `NAME` matches")
	profile := flag.String("profile", "", "leave in `DIR` where the proxy spent its time (Linux, with perf)")
	flag.Func("beside", "compare with the SOCKS5 proxy that `NAME=COMMAND` starts; {listen} or {port} in COMMAND is its address\nmay be repeated; measures nothing else unless -run is set", addBeside(false))
	flag.Func("beside-redirect", "likewise, `NAME=COMMAND` of a proxy without SOCKS that dials the address in the client's VERSION", addBeside(true))
	svg := flag.String("svg", "", "draw the growth scenario's plot into `FILE`")
	points := flag.String("points", "", "keep the growth scenario's values in `FILE`, to which each run adds its rounds")
	flag.Parse()
	if *pattern == "" && len(others) > 0 {
		*pattern = "^beside"
	}
	only, err := regexp.Compile(*pattern)
	if err == nil {
		err = run(*quick, max(1, *rounds), only, *profile, *svg, *points)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(quick bool, rounds int, only *regexp.Regexp, profiles, svg, points string) error {
	b, err := newBench(quick, rounds)
	if err != nil {
		return err
	}
	defer b.close()
	if b.points, err = readPoints(points); err != nil {
		return err
	}
	var rows []row
	for _, s := range scenarios {
		if !only.MatchString(s.name) || s.apart && only.String() == "" || strings.HasPrefix(s.name, "beside") && len(others) == 0 {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s …\n", s.name)
		stop, err := b.profile(profiles, s.name)
		if err != nil {
			return err
		}
		more, err := s.run(b)
		if err := errors.Join(err, stop()); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, r := range more {
			fmt.Fprintf(os.Stderr, "  %s, %s: %.4g, ratio %.3g\n", r.what, r.unit, r.got, r.ratio())
		}
		rows = append(rows, more...)
	}
	fmt.Println(machine())
	fmt.Println()
	if len(rows) > 0 {
		fmt.Print(table(rows))
	}
	if len(b.points.sizes()) > 0 {
		fmt.Print(b.points.table())
	}
	fmt.Print(b.after)
	if svg != "" {
		err = b.points.plot(svg)
	}
	return errors.Join(err, b.points.write())
}
