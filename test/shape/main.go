package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "shape: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	p := plan{RTT: 50 * time.Millisecond}
	flag.IntVar(&p.Sessions, "sessions", 10, "sessions of each mode and kind of client")
	flag.DurationVar(&p.Length, "length", 4*time.Minute, "length of the recording")
	flag.Uint64Var(&p.Seed, "seed", 1, "seed of the wallets and of the chain")
	modes := flag.String("modes", "off pad cover tunnel", "values of --shape")
	clients := flag.String("clients", "inv push noisy", "kinds of clients")
	recordTo := flag.String("record", "", "record to `FILE`, and do not attack")
	flag.StringVar(&p.Logs, "logs", "", "`DIRECTORY` for the output of the node and of the proxies")
	flag.Parse()
	p.Modes, p.Clients = strings.Fields(*modes), strings.Fields(*clients)
	r, err := record(ctx, p, os.Stderr)
	if err != nil {
		return err
	}
	f, err := os.Create(*recordTo)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.Write(f); err != nil {
		return err
	}
	return f.Close()
}
