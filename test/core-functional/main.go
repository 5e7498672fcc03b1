// Core-functional runs Bitcoin Core's functional tests with this proxy between the nodes.
//
//	BITCOIND=/path/to/bitcoind go -C test run ./core-functional -core /path/to/bitcoin [NAME…]
//
// -core is a source tree of Core, of about the program's version. Nothing is built from it or written to it: the changes
// that make the tests use a proxy are applied to a copy, see tree.go. Each test gets a new proxy with default settings,
// whose log counts the v2 sessions: a test without any proves nothing about the proxy. A test that fails is run again
// without the changes, and so without the proxy: if it fails at the same line, the proxy is not at fault. With -microsocks,
// a test that fails only with the proxy is run once more with microsocks, a SOCKS5 server that only copies bytes, in the
// proxy's place: if it fails at the same line, it fails with any proxy.
//
// With -inbound, the proxy is before every node instead: peers come in through it in v2, see inbound.go.
//
// Without names, Core-functional runs the tests that connect a node to anything, except those in skipped.go, and prints
// a table. BITCOINCLI may hold the path of bitcoin-cli, for the few tests that use it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
)

func main() {
	var o options
	flag.StringVar(&o.core, "core", "", "source tree of Bitcoin Core, `DIR`")
	flag.StringVar(&o.logs, "logs", "", "keep in `DIR` what the tests that failed printed, and the proxy's log")
	flag.BoolVar(&o.inbound, "inbound", false, "put the proxy before every node, which its peers reach in v2")
	flag.StringVar(&o.conf, "conf", "", "further `SETTINGS` for the nodes' bitcoin.conf, with commas between them")
	flag.StringVar(&o.microsocks, "microsocks", "", "repeat a test that fails only with the proxy with microsocks, the program at `PATH`")
	flag.IntVar(&o.jobs, "jobs", 2, "`N` tests at a time")
	flag.Parse()
	o.bitcoind = os.Getenv("BITCOIND")
	// The framework requires a bitcoin-cli, but few tests use it: any file satisfies the others.
	o.cli = cmp.Or(os.Getenv("BITCOINCLI"), o.bitcoind)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "core-functional: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	core, bitcoind, cli, logs, conf, microsocks string
	jobs                                        int
	inbound                                     bool
}

func run(ctx context.Context, o options, names []string) error {
	if o.core == "" || o.bitcoind == "" || o.jobs < 1 {
		return errors.New("-core DIR and the path of bitcoind in BITCOIND are required")
	}
	if o.inbound && o.microsocks != "" {
		return errors.New("-microsocks is for what goes out, not with -inbound")
	}
	dir, err := os.MkdirTemp("", "core-functional-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := newWorkshop(ctx, o, dir)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if names, err = w.tests(); err != nil {
			return err
		}
	}

	rows := make([]row, len(names))
	next := make(chan int)
	var jobs sync.WaitGroup
	for range o.jobs {
		jobs.Go(func() {
			for i := range next {
				rows[i] = w.judge(ctx, i, names[i])
				fmt.Fprintf(os.Stderr, "%3d/%d %s\n", i+1, len(names), rows[i])
			}
		})
	}
	for i := range names {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	jobs.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	printTable(rows, w.skipped())
	for _, r := range rows {
		if r.verdict == failed {
			return errors.New("tests failed that pass without the proxy")
		}
	}
	return nil
}

// judge runs a test through the proxy and, if it fails, without the proxy, and with another.
func (w *workshop) judge(ctx context.Context, i int, name string) row {
	through := w.runThrough(ctx, i, name)
	r := row{name: name, sessions: through.sessions, seconds: through.seconds}
	switch {
	case ctx.Err() != nil:
		r.verdict = failed
	case through.err != nil:
		r.verdict, r.why = failed, fmt.Sprintf("line %s: %v", through.line, through.err)
		w.keep(name+".through", through)
		same := func(o outcome) bool {
			return o.err != nil && o.line == through.line && !o.proxyFault && !through.proxyFault
		}
		direct := w.runDirect(ctx, i, name)
		w.keep(name+".direct", direct)
		if same(direct) {
			r.verdict = failsAnyway
		} else if w.microsocks != "" {
			other := w.runMicrosocks(ctx, i, name)
			w.keep(name+".microsocks", other)
			if same(other) {
				r.verdict = failsProxied
			}
		}
	case through.skipped != "":
		r.verdict, r.why = skippedItself, through.skipped
	case through.sessions == 0:
		r.verdict = noSession
	default:
		r.verdict = passed
	}
	return r
}

// keep writes the output of a failed run to the directory that the user chose.
func (w *workshop) keep(name string, o outcome) {
	if w.logs == "" || o.err == nil {
		return
	}
	err := errors.Join(os.MkdirAll(w.logs, 0o755),
		os.WriteFile(filepath.Join(w.logs, name+".log"), append(o.output, o.proxyLog...), 0o644))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
