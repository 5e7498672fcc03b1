package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// The requests that the growth status scenario makes.
const (
	shownPage  = "/api/status?sessions=50"      // of the page
	sortedPage = "/api/status?sessions=1000000" // of the page once it is sorted by a column
	allStatus  = "/api/status"
	allMetrics = "/metrics"

	pageInterval = 2 * time.Second // of the page
)

// growthStatus measures what the status costs with the most sessions, and how long its answers take.
func (b *bench) growthStatus() (rows []row, err error) {
	socket := filepath.Join(b.dir, "status.sock")
	os.Remove(socket)
	c, err := b.sessionSet(ofProxy, "--status", "unix:"+socket)
	defer c.close()
	if err != nil {
		return nil, err
	}
	sizes := b.sizes()
	n := sizes[len(sizes)-1]
	if err := c.grow(n); err != nil {
		return nil, err
	}
	if err := c.visitAll(n, 0); err != nil {
		return nil, err
	}
	steady(c.via)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	get := func(path string) (time.Duration, error) {
		begin := time.Now()
		r, err := client.Get("http://localhost" + path)
		if err != nil {
			return 0, err
		}
		defer r.Body.Close()
		if size, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("%s: %s, %d bytes, %v", path, r.Status, size, err)
		}
		return time.Since(begin), nil
	}

	what := fmt.Sprintf("%d sessions, ", n)
	polls := max(1, b.size(30)) // so that one collection does not decide
	for _, each := range []struct {
		what, path string
		target     float64
	}{{"--status, no page open", "", 0}, {"--status, a page open", shownPage, 1}, {"--status, a page open, sorted by a column", sortedPage, 0}} {
		before, begin := c.via.cpu(), time.Now()
		for i := range polls {
			if each.path != "" {
				if _, err := get(each.path); err != nil {
					return nil, err
				}
			}
			time.Sleep(time.Until(begin.Add(pageInterval * time.Duration(i+1))))
		}
		used := (c.via.cpu() - before) / time.Since(begin).Seconds()
		rows = append(rows, row{what: what + each.what, unit: "CPU %", got: series{used * 100}, target: each.target})
	}
	for _, path := range []string{shownPage, sortedPage, allStatus, allMetrics} {
		var all []time.Duration
		for range 20 {
			took, err := get(path)
			if err != nil {
				return nil, err
			}
			all = append(all, took)
		}
		slices.Sort(all)
		ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
		worst := row{what: what + path, unit: "ms, worst of 20", got: series{ms(all[len(all)-1])}, target: 50, note: "p50 " + figure(ms(all[len(all)/2]))}
		if path == sortedPage {
			worst.target = 0
		}
		rows = append(rows, worst)
	}
	return rows, nil
}
