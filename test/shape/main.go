package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "shape: %v\n", err)
		os.Exit(1)
	}
}

// run does what the flags say.
func run() error {
	p := plan{RTT: 50 * time.Millisecond}
	recordTo := flag.String("record", "", "record to `FILE`, and do not attack")
	attackOf := flag.String("attack", "", "attack the recording in `FILE`, and do not record")
	out := flag.String("out", "", "also write recording.json.gz, report.json and their tables, summary.md and report.md, to `DIRECTORY`")
	count := flag.Int("seeds", 3, "how often the attackers learn, with other seeds")
	flag.IntVar(&p.Sessions, "sessions", 10, "sessions of each mode and kind of client")
	flag.DurationVar(&p.Length, "length", 4*time.Minute, "length of the recording")
	flag.Uint64Var(&p.Seed, "seed", 1, "seed of the wallets and of the chain")
	modes := flag.String("modes", defaultModes, "values of --shape, each of another mode")
	clients := flag.String("clients", "inv push noisy", "kinds of clients")
	flag.IntVar(&p.Outputs, "outputs", 8000, "outputs that each block has besides those of its transactions: filters are as large as on mainnet with 8000")
	flag.StringVar(&p.Logs, "logs", "", "`DIRECTORY` for the output of the node and of the proxies")
	flag.Parse()
	p.Modes, p.Clients = strings.Fields(*modes), strings.Fields(*clients)
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("argument %q is not expected; all are flags", flag.Arg(0))
	case *recordTo != "" && *attackOf != "":
		return errors.New("record and attack are both set; set neither to record and attack")
	case *recordTo != "" && *out != "":
		return errors.New("record and out are both set; set only out to record and attack, and keep both")
	case *count < 1:
		return fmt.Errorf("seeds: %d is invalid; must be at least 1", *count)
	}
	if err := p.check(); err != nil {
		return err
	}
	for _, dir := range []string{*out, p.Logs, filepath.Dir(*recordTo)} { // before minutes are spent
		if dir != "" {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
	}
	if *attackOf != "" {
		r, err := readFile(*attackOf)
		if err != nil {
			return err
		}
		return attackAndReport(r, *count, *out)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	r, err := record(ctx, p, os.Stderr) // a signal ends the programs that it has started
	if ctx.Err() != nil {
		err = context.Cause(ctx) // which signal
	}
	stop()
	if err != nil {
		return err
	}
	if *recordTo != "" {
		return r.writeFile(*recordTo)
	}
	if *out != "" {
		if err := r.writeFile(filepath.Join(*out, "recording.json.gz")); err != nil {
			return err
		}
	}
	return attackAndReport(r, *count, *out)
}

func (r *Recording) writeFile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return cmp.Or(r.Write(f), f.Close())
}

func readFile(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := ReadRecording(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// attackAndReport prints the tables of docs/shape.md.
func attackAndReport(r *Recording, count int, out string) error {
	var seeds []uint64
	for i := range count {
		seeds = append(seeds, uint64(i+1))
	}
	fmt.Fprintf(os.Stderr, "attacking %d sessions\n", len(r.Sessions))
	report := attack(r, seeds)
	summary, text := report.Summary(), report.Markdown()
	fmt.Print(summary, "\n", text)
	if out == "" {
		return nil
	}
	data, err := json.MarshalIndent(report, "", "\t")
	if err != nil {
		return err
	}
	return cmp.Or(os.WriteFile(filepath.Join(out, "report.json"), append(data, '\n'), 0o644),
		os.WriteFile(filepath.Join(out, "summary.md"), []byte(summary), 0o644),
		os.WriteFile(filepath.Join(out, "report.md"), []byte(text), 0o644))
}
