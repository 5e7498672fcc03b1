package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// fences are the ways of `bip324-proxy run`, with the kinds of participants that the run scenario has for them.
var fences = map[string]string{viaRun: "namespace", viaSeccomp: "seccomp"}

// underRun returns the command line of a command under `bip324-proxy run`.
func (b *bench) underRun(fence string, command ...string) []string {
	return append([]string{b.binary, "run", "--fence", fence, "--log-file", filepath.Join(b.dir, "run.log"), "--log-level", "info", "--"}, command...)
}

// run compares clients without a proxy setting, under `bip324-proxy run`, with one that speaks SOCKS.
func (b *bench) run() (rows []row, err error) {
	if out, err := exec.Command(b.binary, "run", "--", os.Args[0], "-h").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "not measured: %s", out)
		return nil, nil
	}
	if rows, err = b.runStarts(); err != nil {
		return nil, err
	}
	host, err := ownAddress()
	if err != nil {
		fmt.Fprintln(os.Stderr, "not measured:", err)
		return rows, nil
	}
	node, err := listenV2(host)
	if err != nil {
		return nil, err
	}
	var all []*participant
	defer func() {
		for _, p := range all {
			p.stop()
		}
	}()
	for _, kind := range []string{viaProxy, viaRun, viaSeccomp} {
		p, err := b.participant(kind, node)
		if p != nil {
			all = append(all, p)
		}
		if err != nil {
			return nil, err
		}
		if kind != viaProxy {
			rows = append(rows, row{what: "run --fence " + fences[kind] + ", one session", unit: "resident MB", got: once(p.proxy.resident() / 1e6),
				limit: []part{{"the proxy alone", once(b.proxy.resident() / 1e6)}}})
		}
	}
	times := b.size(400)
	cpu, wall := map[string]float64{}, map[string]float64{} // ms per block
	for round := range b.rounds + 1 {
		for _, p := range all {
			before, begin := p.proxy.cpu(), time.Now()
			sent := make(chan error, 1)
			go func() { sent <- p.peer.send(blocks, times) }()
			_, err := p.do("receive", "blocks", times)
			if err := errors.Join(err, <-sent); err != nil {
				return nil, err
			}
			if round > 0 { // the first one warms up
				n := float64(b.rounds*times*len(blocks)) / 1e3
				cpu[p.kind] += (p.proxy.cpu() - before) / n
				wall[p.kind] += time.Since(begin).Seconds() / n
			}
		}
	}
	for _, kind := range []string{viaRun, viaSeccomp} {
		what := "a block of 1.5 MB, down, run --fence " + fences[kind]
		rows = append(rows, row{what: what, unit: "CPU ms", got: once(cpu[kind]), limit: []part{{"by SOCKS", once(cpu[viaProxy])}}},
			row{what: what, unit: "wall clock ms", got: once(wall[kind]), limit: []part{{"by SOCKS", once(wall[viaProxy])}}})
	}
	return rows, nil
}

// runStarts measures how long a program takes that ends at once.
func (b *bench) runStarts() (rows []row, err error) {
	commands := [][]string{{"true"}, b.underRun("namespace", "true"), b.underRun("seccomp", "true")}
	took := make([][]time.Duration, len(commands))
	for range max(3, b.size(100)) {
		for i, c := range commands {
			begin := time.Now()
			if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("%q: %w\n%s", c, err, out)
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	median := func(i int) float64 {
		slices.Sort(took[i])
		return took[i][len(took[i])/2].Seconds() * 1e3
	}
	for i, c := range commands[1:] {
		rows = append(rows, row{what: strings.Join(c[1:4], " ") + " -- true, p50", unit: "wall clock ms", got: once(median(i + 1)), limit: []part{{"true", once(median(0))}}})
	}
	return rows, nil
}

// ownAddress returns an address of this machine that is not loopback, which run would leave to its command.
func ownAddress() (string, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String(), nil
		}
	}
	return "", errors.New("this machine has no address that is not loopback; give it one: ip address add 198.51.100.1/32 dev lo")
}
