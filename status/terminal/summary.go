package terminal

import (
	"fmt"
	"strings"
	"time"

	"bip324proxy/internal/terminal"
	"bip324proxy/proxy"
	"bip324proxy/status"
)

// answer says whether the Bitcoin traffic is encrypted, and in which color. It has a line to
// itself, and fits into 40 columns with hundreds of sessions.
func answer(r *status.Report) (text, color string) {
	live := r.Live
	plaintext, encrypted := live.V1-live.V1Overlay, live.V2+live.V1Overlay
	switch verdict := live.Encrypted(); {
	case verdict == status.Yes:
		return fmt.Sprintf("Yes: %d encrypted, none in plaintext.", encrypted), green
	case verdict == status.No:
		return fmt.Sprintf("NO: %d in plaintext (v1).", plaintext), red
	case plaintext > 0:
		return fmt.Sprintf("PARTLY: %d in plaintext (v1).", plaintext), red
	case verdict == status.Partly:
		return fmt.Sprintf("Partly: %d passed through unchanged.", live.Passthrough), yellow
	case verdict == status.Unknown:
		return fmt.Sprintf("Unknown: %d passed through.", live.Passthrough), yellow
	case isUpstreamDown(r):
		return "Nothing is sent: the upstream is down.", yellow
	case r.Failing != nil:
		return "Nothing is sent: all attempts failed.", yellow
	}
	return "Nothing to say yet: no connections.", yellow
}

func isUpstreamDown(r *status.Report) bool { return r.Upstream != nil && r.Upstream.State == "failed" }

// trouble returns what is wrong, and what to do.
func trouble(r *status.Report, width int) []string {
	var lines []string
	if what, hint := r.ExplainMisdirected(); what != "" {
		lines = terminal.Advise("", what, hint, width)
	}
	lines = append(lines, noConnection(r, width)...)
	for _, route := range r.Routes {
		if route.State == "failed" {
			lines = append(lines, terminal.Advise("", "Connections to "+ascii(route.To)+" fail: "+route.Reason, route.Hint, width)...)
		}
	}
	if in := r.Inbound; in != nil && in.Failing != nil && in.Failing.Kind == proxy.KindNode {
		f := in.Failing
		lines = append(lines, terminal.Advise("", "No peer can connect: "+f.Reason, f.Hint, width)...)
	}
	if verdict := r.Live.Encrypted(); verdict == status.Unknown || verdict == status.Partly && r.Live.V1 == r.Live.V1Overlay {
		lines = append(lines, terminal.Advise("", "What passes through is the client's own v2 or another protocol; the proxy does not look into it.",
			"compare session ids in getpeerinfo of both ends: the client's own v2 has one", width)...)
	}
	return lines
}

// noConnection returns why no connection is open, and what to do.
func noConnection(r *status.Report, width int) []string {
	switch f := r.Failing; {
	case isUpstreamDown(r):
		return terminal.Advise("", r.Upstream.Reason, r.Upstream.Hint, width)
	case r.Live.Encrypted() != status.None:
	case f != nil:
		what := f.Reason
		if f.Dest != "" {
			what = ascii(f.Dest) + ": " + what
		}
		what = fmt.Sprintf("%d failed since %s, most often (%d): %s", f.Count, f.Since.Local().Format("15:04:05"), f.OfKind, what)
		return terminal.Advise("", what, f.Hint, width)
	case sum(r.Opened) > 0 || len(r.Listeners) == 0:
	case r.Inbound != nil && sum(r.Inbound.Opened) > 0: // the proxy may be for peers only
	case r.Live.Pending+int(sum(r.Refused)) > 0:
		return terminal.Fold("", "Clients connect, but no peer has answered yet.", width)
	case len(r.SOCKS) > 0:
		return terminal.Advise("", "No client has connected yet.", "set your client's SOCKS5 proxy to "+strings.Join(r.SOCKS, " or "), width)
	case onlyRedirected(r):
		return terminal.Fold("", "No connection has been redirected to the proxy yet.", width)
	default:
		return terminal.Advise("", "No client has connected yet.", "connect your client to "+strings.Join(r.Listeners, " or ")+" in place of the peer", width)
	}
	return nil
}

func sum(counts map[string]uint64) (all uint64) {
	for _, n := range counts {
		all += n
	}
	return all
}

// counts returns the line with the numbers of sessions.
func counts(r *status.Report) string {
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
	parts = append(parts, fmt.Sprintf("%d failed", failed(r)))
	return strings.Join(parts, ", ")
}

// onlyRedirected reports whether the proxy takes only connections that the system redirects, as
// that of run does, whose addresses are those of another network namespace.
func onlyRedirected(r *status.Report) bool {
	return len(r.Transparent) > 0 && len(r.Transparent) == len(r.Listeners)
}

// about returns the line about the proxy.
func about(r *status.Report) string {
	state := "on " + strings.Join(r.Listeners, ", ")
	switch {
	case r.Stopping:
		state = "shutting down, no new clients"
	case len(r.Listeners) == 0 && r.Inbound != nil:
		state = "without clients"
	case len(r.Listeners) == 0:
		state = "not listening yet"
	case onlyRedirected(r):
		state = "for redirected connections"
	}
	return terminal.Clean(fmt.Sprintf("%s %s, up %s, at %s", strings.TrimSpace("bip324-proxy "+r.Version), state,
		age(r.Time.Sub(r.Started)), r.Time.Local().Format("2006-01-02 15:04:05")))
}

// age returns d in its two largest units.
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

// amount returns a number of bytes in the largest unit of which there is one at least.
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
