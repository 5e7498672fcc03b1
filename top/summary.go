// Package top shows what a running proxy does in a terminal: the same as its status
// page, once or again and again.
package top

import (
	"fmt"
	"strings"
	"time"

	"bip324proxy/internal/terminal"
	"bip324proxy/status"
)

// words are verdicts as they are said.
var words = map[status.Verdict]string{
	status.Yes: "yes", status.No: "no", status.Partly: "partly", status.Unknown: "not known", status.None: "no connections right now",
}

// headline is the first line.
func headline(r *status.Report) string {
	live := r.Live
	parts := []string{
		fmt.Sprintf("%d encrypted (v2)", live.V2),
		fmt.Sprintf("%d plaintext (v1)", live.V1-live.V1Overlay),
	}
	if live.V1Overlay > 0 {
		parts = append(parts, fmt.Sprintf("%d v1 within Tor or CJDNS", live.V1Overlay))
	}
	parts = append(parts, fmt.Sprintf("%d passed through", live.Passthrough))
	if live.Pending > 0 {
		parts = append(parts, fmt.Sprintf("%d connecting", live.Pending))
	}
	var refused uint64
	for _, n := range r.Refused {
		refused += n
	}
	parts = append(parts, fmt.Sprintf("%d refused", refused))
	return fmt.Sprintf("Is my Bitcoin traffic encrypted? %s: %s", words[live.Encrypted()], strings.Join(parts, ", "))
}

// about is the second line.
func about(r *status.Report) string {
	state := "on " + strings.Join(r.Listeners, ", ")
	switch {
	case r.Stopping:
		state = "stopping: it takes no more clients"
	case len(r.Listeners) == 0:
		state = "not listening yet"
	}
	version := r.Version
	if version != "" {
		version = " " + version
	}
	return terminal.Clean(fmt.Sprintf("bip324-proxy%s %s, up %s, at %s", version, state,
		age(r.Time.Sub(r.Started)), r.Time.Local().Format("2006-01-02 15:04:05")))
}

// age is a time in its two largest units, at most.
func age(d time.Duration) string {
	s := int(d.Seconds())
	switch {
	case s >= 86400:
		return fmt.Sprintf("%dd%dh", s/86400, s%86400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh%dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", max(s, 0))
}

// amount is a number of bytes in the largest unit that leaves something before the
// point.
func amount(n uint64) string {
	f := float64(n)
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if f < 999.5 {
			if f < 9.95 && unit != "B" {
				return fmt.Sprintf("%.1f %s", f, unit)
			}
			return fmt.Sprintf("%.0f %s", f, unit)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1f TB", f)
}
