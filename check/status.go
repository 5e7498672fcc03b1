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

// statusPage checks whether the status page answers, the proxy is ready, and its settings
// are those of s.
func (s *Subject) statusPage(ctx context.Context) Result {
	const name = "status"
	none := Result{name, Skipped, "no status page is configured", "to get one, run the proxy with --status 127.0.0.1:1325"}
	if s.Status == "" {
		return none
	}
	if address, err := listen.Parse(s.Status); err == nil && address.AnyPort() {
		return Result{name, Skipped, s.Status + ": the system chooses the port when the proxy starts", ""}
	}
	page := status.Client{Address: s.Status, Token: s.Token}
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
	if report, _, err := page.Status(ctx); err == nil { // else it requires a token
		if other := otherSettings(report.Settings, s.InForce); len(other) > 0 {
			return Result{name, Warning, s.Status + ": the running proxy has other settings: " + strings.Join(other, "; "),
				"the checks above are about the settings given here; run check with the proxy's own: the same flags, environment and --config"}
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
