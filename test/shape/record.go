package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// The pace of a recording, which is faster than life: mean times.
const (
	blockEvery   = 20 * time.Second
	txEvery      = 25 * time.Second // of one session
	headersEvery = time.Minute
	pingEvery    = 40 * time.Second
)

const (
	// fasterTunnel has as many false bursts for each block as a tunnel with the defaults on mainnet.
	fasterTunnel = "tunnel,fakes=20s"
	defaultModes = "off pad cover " + fasterTunnel
)

const (
	blockShare = 0.2              // of the filters match, so the wallet asks for the block
	noisyRate  = 3.0              // other transactions a second, in sessions with relay
	warmUp     = 22 * time.Second // after all sessions have opened: cover begins after 20 s
	openWithin = 8 * time.Second  // sessions open at different times
)

// plan is what is to be recorded.
type plan struct {
	Sessions int // of each mode and kind of client
	Length   time.Duration
	RTT      time.Duration
	Seed     uint64
	Modes    []string // off, or values of --shape: the mode is what stands before the first comma
	Clients  []string
	Outputs  int    // outputs in each block besides those of its transactions: they make its filter larger
	Logs     string // directory for the output of all programs, or ""
}

// check returns an error if p cannot be recorded.
func (p plan) check() error {
	switch {
	case p.Sessions < 1 || p.Sessions > 50:
		return fmt.Errorf("sessions: %d is invalid; must be from 1 to 50", p.Sessions)
	case p.Length < time.Second || p.Length > maxLength:
		return fmt.Errorf("length: %v is invalid; must be from 1s to %v", p.Length, maxLength)
	case p.Outputs < 0 || p.Outputs > 50_000:
		return fmt.Errorf("outputs: %d is invalid; must be from 0 to 50000", p.Outputs)
	case len(p.Modes) == 0 || len(p.Clients) == 0:
		return errors.New("there is no session without a mode and a kind of client")
	}
	seen := map[string]bool{}
	for _, shape := range p.Modes {
		mode := modeOf(shape)
		if seen[mode] {
			return fmt.Errorf("modes: %q is there twice; each may be there once", mode)
		}
		seen[mode] = true
	}
	for _, client := range p.Clients {
		if !slices.Contains([]string{"inv", "push", "noisy"}, client) || seen[client] {
			return fmt.Errorf("clients: %q is invalid or there twice; must be inv, push or noisy", client)
		}
		seen[client] = true
	}
	return nil
}

// modeOf returns the mode of a value of --shape.
func modeOf(shape string) string {
	mode, _, _ := strings.Cut(shape, ",")
	return mode
}

// world is a recording under way.
type world struct {
	plan
	dir, logs  string
	node       *fullNode
	groups     []*group
	noisyShare float64
	commit     string
	began      time.Time
}

// record records all modes at the same time, with one node and one chain.
func record(ctx context.Context, p plan, log io.Writer) (*Recording, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &world{plan: p, commit: commit(ctx)}
	var err error
	if w.dir, err = os.MkdirTemp("", "bip324-shape-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(w.dir)
	if w.logs = p.Logs; w.logs == "" {
		w.logs = w.dir
	}
	defer w.stop()
	total := p.Sessions * len(p.Modes) * len(p.Clients)
	ownRate := float64(total) / txEvery.Seconds()
	w.noisyShare = min(1, noisyRate/ownRate)
	coins := int((max(ownRate, noisyRate)*1.3)*p.Length.Seconds()) + 2*total + 100 +
		int(2*p.Length/blockEvery+1)*(p.Outputs/coinsPerTx+1)

	fmt.Fprintf(log, "building; starting the node and %d proxies\n", len(p.Modes)*len(p.Clients))
	proxyPath, err := build(ctx, w.dir, "proxy-program", "bip324proxy")
	if err != nil {
		return nil, err
	}
	if w.node, err = startNode(ctx, w.dir, w.logs, total); err != nil {
		return nil, err
	}
	c, err := newChain(ctx, w.node, coins, p.Outputs, p.Seed)
	if err != nil {
		return nil, err
	}
	for _, client := range p.Clients {
		for _, shape := range p.Modes {
			mode := modeOf(shape)
			g, err := startGroup(ctx, w.dir, w.logs, proxyPath, w.node, mode, client, shape)
			if err != nil {
				return nil, err
			}
			w.groups = append(w.groups, g)
		}
	}
	fmt.Fprintf(log, "opening %d sessions\n", total)
	if err := w.open(ctx); err != nil {
		return nil, err
	}
	if !pause(ctx, warmUp) {
		return nil, ctx.Err()
	}
	for _, g := range w.groups {
		if err := g.check(ctx); err != nil {
			return nil, err
		}
		if g.nearCPU, g.farCPU, err = g.cpu(); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(log, "recording for %v\n", p.Length)
	w.began = time.Now()
	if err := w.run(ctx, c, noisyRate-ownRate); err != nil {
		return nil, err
	}
	return w.result(ctx, c, log)
}

func (w *world) stop() {
	for _, g := range w.groups {
		g.stop()
	}
	if w.node != nil {
		w.node.stop()
	}
}

// open opens all sessions, in turn of the groups.
func (w *world) open(ctx context.Context) error {
	ids := 0
	step := openWithin / time.Duration(w.Sessions*len(w.groups))
	var all sync.WaitGroup
	errs := make(chan error, len(w.groups))
	for range w.Sessions {
		for _, g := range w.groups {
			ids++
			id := ids
			all.Go(func() {
				if err := g.open(ctx, w, id); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			})
			if !pause(ctx, step) {
				return ctx.Err()
			}
		}
	}
	all.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// run lets wallets and node act for the length of the recording.
func (w *world) run(ctx context.Context, c *chain, others float64) error {
	ctx, cancel := context.WithDeadline(ctx, w.began.Add(w.Length))
	defer cancel()
	var all sync.WaitGroup
	errs := make(chan error, len(w.groups)+1)
	do := func(f func() error) {
		all.Go(func() {
			err := f()
			if err != nil {
				cancel()
			}
			errs <- err
		})
	}
	do(func() error { return c.run(ctx, others) })
	for _, g := range w.groups {
		do(func() error { return g.script(ctx, c) })
	}
	all.Wait()
	close(errs)
	var joined error
	for err := range errs {
		joined = errors.Join(joined, err)
	}
	if err := context.Cause(ctx); joined == nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return joined
}

// result puts the recording together.
func (w *world) result(ctx context.Context, c *chain, log io.Writer) (*Recording, error) {
	r := &Recording{Began: w.began.UTC(), RTT: w.RTT, Length: w.Length, Commit: w.commit}
	pings, err := w.node.pings(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range w.groups {
		cell, sessions, err := g.result(ctx, w, c, pings, log)
		if err != nil {
			return nil, err
		}
		r.Node = g.wallets[0].agent
		r.Cells, r.Sessions = append(r.Cells, cell), append(r.Sessions, sessions...)
	}
	return r, nil
}

// commit returns the commit of the source, or "" outside of a checkout.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
