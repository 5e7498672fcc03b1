package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
)

// scenario is one measurement; it returns rows of the table.
type scenario struct {
	name string
	run  func(*bench) ([]row, error)
}

var scenarios = []scenario{
	{"blocks down", func(b *bench) ([]row, error) { return b.bytes("blocks of 1.5 MB, down", blocks, nil) }},
	{"blocks up", func(b *bench) ([]row, error) { return b.bytes("blocks of 1.5 MB, up", nil, blocks) }},
	{"initial sync", func(b *bench) ([]row, error) { return b.bytes("initial sync", syncDown, syncUp) }},
	{"steady relay", func(b *bench) ([]row, error) { return b.messages("steady relay", relayed, relayed) }},
	{"inv down", func(b *bench) ([]row, error) { return b.messages("inv of 37 bytes, down", invs, nil) }},
	{"inv up", func(b *bench) ([]row, error) { return b.messages("inv of 37 bytes, up", nil, invs) }},
	{"passthrough", (*bench).passthrough},
	{"ping", (*bench).ping},
	{"connect", (*bench).connects},
	{"idle", (*bench).idle},
	{"inbound", (*bench).inbound},
	{"stalled", (*bench).stalled},
	{"under run", (*bench).run},
	{"library", (*bench).library},
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == relayCommand {
		fmt.Fprintln(os.Stderr, serveRelay())
		os.Exit(1)
	}
	if len(os.Args) == 5 && os.Args[1] == clientCommand {
		fmt.Fprintln(os.Stderr, serveClient(os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	quick := flag.Bool("quick", false, "little data: shows that it works, measures nothing well")
	pattern := flag.String("run", "", "only the scenarios whose `NAME` matches")
	profile := flag.String("profile", "", "leave in `DIR` where the proxy spent its time (Linux, with perf)")
	flag.Parse()
	only, err := regexp.Compile(*pattern)
	if err == nil {
		err = run(*quick, only, *profile)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(quick bool, only *regexp.Regexp, profiles string) error {
	b, err := newBench(quick)
	if err != nil {
		return err
	}
	defer b.close()
	var rows []row
	for _, s := range scenarios {
		if !only.MatchString(s.name) {
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
		rows = append(rows, more...)
	}
	fmt.Println(machine())
	fmt.Println()
	fmt.Print(table(rows), b.after)
	return nil
}
