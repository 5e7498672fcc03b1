package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chainhash/v2"
)

// group is all sessions of one mode and one kind of client. They have a proxy of their own, and in
// a tunnel a second one at the node: so their CPU time can be told from that of others.
type group struct {
	mode, client, shape string
	near, far           *proxy     // far is nil without a tunnel
	mu                  sync.Mutex // of the next two, while sessions open
	wallets             []*wallet
	relays              []*relay
	nearCPU, farCPU     time.Duration // before the recording
}

// startGroup starts the proxies of a group.
func startGroup(ctx context.Context, dir, logs, path string, n *fullNode, mode, client, shape string) (*group, error) {
	g := &group{mode: mode, client: client, shape: shape}
	name := mode + "-" + client
	var err error
	if g.near, err = startProxy(ctx, dir, logs, name, path, shape, ""); err != nil {
		return nil, err
	}
	if mode == "tunnel" {
		if g.far, err = startProxy(ctx, dir, logs, name+"-far", path, shape, n.addr); err != nil {
			g.stop()
			return nil, err
		}
	}
	return g, nil
}

func (g *group) stop() {
	for _, p := range []*proxy{g.near, g.far} {
		if p != nil {
			p.stop()
		}
	}
}

// open opens a session, and waits until the wallet has the node's headers.
func (g *group) open(ctx context.Context, w *world, id int) error {
	target := w.node.addr
	if g.far != nil {
		target = g.far.peers
	}
	r, err := startRelay(ctx, target, w.RTT/2)
	if err != nil {
		return err
	}
	conn, err := dialSOCKS(ctx, g.near.clients, r.addr())
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	wallet := newWallet(id, g.client, w.Seed, conn)
	wallet.share = w.noisyShare
	go wallet.run()
	g.mu.Lock()
	g.wallets, g.relays = append(g.wallets, wallet), append(g.relays, r)
	g.mu.Unlock()
	select {
	case <-wallet.synced:
		return nil
	case <-wallet.done:
		return cmp.Or(ctx.Err(), fmt.Errorf("session %d (%s, %s) has ended before it had headers: %w", id, g.mode, g.client, wallet.err))
	case <-time.After(patience):
		return fmt.Errorf("session %d (%s, %s) has no headers after %v", id, g.mode, g.client, patience)
	}
}

// check returns an error unless all sessions have the mode that they are to have.
func (g *group) check(ctx context.Context) error {
	for _, p := range []*proxy{g.near, g.far} {
		if p == nil {
			continue
		}
		if err := p.checkShape(ctx, g.mode, len(g.wallets)); err != nil {
			return err
		}
	}
	return nil
}

// cpu returns the CPU time of the proxies so far.
func (g *group) cpu() (near, far time.Duration, err error) {
	if near, err = g.near.cpu(); err != nil || g.far == nil {
		return near, 0, err
	}
	far, err = g.far.cpu()
	return near, far, err
}

// script runs the scripts of all wallets until ctx ends.
func (g *group) script(ctx context.Context, c *chain) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var first error
	for _, w := range g.wallets {
		all.Go(func() {
			if err := w.script(ctx, c.next); err != nil {
				mu.Lock()
				first = err
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return first
}

// result returns what was recorded of the group.
func (g *group) result(ctx context.Context, w *world, c *chain, pings map[string]peerPing, log io.Writer) (Cell, []Session, error) {
	cell := Cell{Mode: g.mode, Client: g.client, Shape: g.shape}
	near, far, err := g.cpu()
	if err != nil {
		return cell, nil, err
	}
	cell.CPU, cell.CPUFar = near-g.nearCPU, far-g.farCPU
	for _, p := range []*proxy{g.near, g.far} {
		if p == nil {
			continue
		}
		counts, err := p.counts(ctx)
		if err != nil {
			return cell, nil, err
		}
		cell.Overflows += counts.Overflows
		if counts.Inbound != nil {
			cell.Overflows += counts.Inbound.Overflows
		}
	}
	var sessions []Session
	for i, wallet := range g.wallets {
		wallet.mu.Lock()
		if !wallet.ended.IsZero() {
			cell.Disconnected++
			fmt.Fprintf(log, "session %d (%s, %s) ended %v after the recording began: %v\n",
				wallet.id, g.mode, g.client, wallet.ended.Sub(w.began).Round(time.Millisecond), wallet.err)
		}
		if ping := pings[userAgent(wallet.id)]; ping.least > 0 {
			cell.MinPings = append(cell.MinPings, ping.least)
			cell.Pings = append(cell.Pings, ping.last)
		}
		sessions = append(sessions, Session{ID: wallet.id, Mode: g.mode, Client: g.client, Seed: w.Seed, Length: w.Length,
			Segments: g.relays[i].seen(w.began, w.Length), Actions: wallet.seen(w.began, w.Length, c)})
		wallet.mu.Unlock()
	}
	return cell, sessions, nil
}

// seen returns the wallet's actions from began on, with what the node did of them. w.mu is held.
func (w *wallet) seen(began time.Time, length time.Duration, c *chain) []Action {
	c.mu.Lock()
	defer c.mu.Unlock()
	var actions []Action
	add := func(kind string, size int, at, until time.Time) {
		a := Action{At: at.Sub(began).Truncate(time.Microsecond), Kind: kind, Size: size}
		if a.At < 0 || a.At >= length {
			return
		}
		if !until.IsZero() {
			a.Until = until.Sub(began).Truncate(time.Microsecond)
		}
		if a.Until > length {
			a.Until = 0
		}
		actions = append(actions, a)
	}
	for _, d := range w.actions {
		if d.tx != (chainhash.Hash{}) {
			d.until = c.accepted[d.tx]
		}
		add(d.kind, d.size, d.at, d.until)
	}
	for _, b := range c.blocks {
		add("announce", 0, b.at, w.heard[b.hash])
	}
	slices.SortStableFunc(actions, func(a, b Action) int { return cmp.Compare(a.At, b.At) })
	return actions
}
