package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// profile samples the shared proxy, kernel included, with perf from PATH until stop is called, and writes the most
// expensive functions to a text file in dir.
func (b *bench) profile(dir, scenario string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, strings.ReplaceAll(scenario, " ", "-"))
	data := filepath.Join(b.dir, "perf.data")
	perf := exec.Command("perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-o", data, "-p", strconv.Itoa(b.proxy.cmd.Process.Pid))
	if err := perf.Start(); err != nil {
		return nil, fmt.Errorf("-profile: %w", err)
	}
	return func() error {
		perf.Process.Signal(os.Interrupt)
		perf.Wait() // perf ends normally on an interrupt
		out, err := exec.Command("perf", "report", "-q", "-i", data, "--sort", "symbol", "--percent-limit", "0.5").Output()
		if err != nil {
			return fmt.Errorf("-profile: perf report: %w", err)
		}
		return os.WriteFile(name+".txt", out, 0o644)
	}, nil
}
