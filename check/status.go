package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"bip324proxy/internal/listen"
	"bip324proxy/status"
)

// statusPage checks whether the status page answers, the proxy is ready, its settings are
// those of s, and its clients get connections.
func (s *Subject) statusPage(ctx context.Context) []Result {
	page := status.Client{Address: s.Status, Token: s.Token}
	ready := s.ready(ctx, page)
	if ready.State != OK {
		return []Result{ready}
	}
	report, _, err := page.Status(ctx)
	if err != nil { // it requires a token
		return []Result{ready}
	}
	var all []Result
	warn := func(what, hint string) {
		all = append(all, Result{ready.Name, Warning, s.Status + ": " + what, hint})
	}
	if what, hint := report.ExplainMisdirected(); what != "" {
		warn(what, hint)
	}
	if f := report.Failing; f != nil && report.Encrypted == status.None {
		reason := f.Reason
		if f.Dest != "" {
			reason = f.Dest + ": " + reason
		}
		warn(fmt.Sprintf("no client has a connection: %d failed since %s, most often (%d, %s): %s",
			f.Count, f.Since.Local().Format("15:04:05"), f.OfKind, f.Kind, reason), f.Hint)
	}
	if other := otherSettings(report.Settings, s.InForce); len(other) > 0 {
		warn("the running proxy has other settings: "+strings.Join(other, "; "),
			"the checks above are about the settings given here; run check with the proxy's own: the same flags, environment and --config")
	}
	if all == nil {
		all = []Result{ready}
	}
	return all
}

// ready checks whether the page answers and the proxy is ready.
func (s *Subject) ready(ctx context.Context, page status.Client) Result {
	const name = "status"
	none := Result{name, Skipped, "no status page is configured", "to get one, run the proxy with --status 127.0.0.1:1325"}
	if s.Status == "" {
		return none
	}
	if address, err := listen.Parse(s.Status); err == nil && address.AnyPort() {
		return Result{name, Skipped, s.Status + ": the system chooses the port when the proxy starts", ""}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		code, _, err := page.Get(ctx, path)
		switch {
		case err != nil && s.Guessed:
			return none
		case err != nil:
			return Result{name, Failed, fmt.Sprintf("%s: the status page does not answer: %v", s.Status, reason(err)), "the proxy is not running, or runs without --status " + s.Status}
		case path == "/readyz" && code == http.StatusServiceUnavailable:
			return Result{name, Warning, s.Status + ": the proxy is running, but not ready: it is starting or stopping", ""}
		case code != http.StatusOK && s.Guessed:
			return none
		case code != http.StatusOK:
			return Result{name, Failed, fmt.Sprintf("%s: it answers %s with code %d", s.Status, path, code), "it may be another program; choose another address with --status"}
		}
	}
	return Result{name, OK, s.Status + ": the status page answers, and the proxy is ready", ""}
}

// notCompared are settings that other checks cover, or that make no difference to any.
var notCompared = []string{"config", "listen", "peer", "status", "status-token", "status-token-file", "log-level", "log-format", "grace"}

// otherSettings returns the settings that differ between there and here, with both values.
func otherSettings(there, here []status.Setting) (other []string) {
	text := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	for _, h := range here {
		i := slices.IndexFunc(there, func(t status.Setting) bool { return t.Name == h.Name })
		if i < 0 || slices.Contains(notCompared, h.Name) || there[i].Origin == h.Origin && h.Origin == "default" {
			continue
		}
		if t := text(there[i].Value); t != text(h.Value) {
			other = append(other, fmt.Sprintf("%s is %s there, %s here", h.Name, t, text(h.Value)))
		}
	}
	return other
}
