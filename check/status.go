package check

import (
	"context"
	"fmt"
	"net/http"

	"bip324proxy/internal/statusapi"
)

// statusPage says whether the status page answers, and that the proxy is ready.
func (s *Subject) statusPage(ctx context.Context) Result {
	const name = "status"
	if s.Status == "" {
		return Result{name, Skipped, "no status page is configured", "to have one, run the proxy with --status 127.0.0.1:1325"}
	}
	if portIsChosen(s.Status) {
		return Result{name, Skipped, s.Status + ": the port is chosen when the proxy starts", ""}
	}
	page := statusapi.Client{Address: s.Status}
	for _, path := range []string{"/healthz", "/readyz"} {
		answer, err := page.Get(ctx, path)
		switch {
		case err != nil:
			return Result{name, Failed, fmt.Sprintf("%s: the status page does not answer: %v", s.Status, reason(err)), "the proxy does not run, or without --status " + s.Status}
		case path == "/readyz" && answer.Code == http.StatusServiceUnavailable:
			return Result{name, Warning, s.Status + ": the proxy runs, but is not ready: it is starting or stopping", ""}
		case answer.Code != http.StatusOK:
			return Result{name, Failed, fmt.Sprintf("%s: asked for %s, it answers with code %d", s.Status, path, answer.Code), "it may be another program; choose another address with --status"}
		}
	}
	return Result{name, OK, s.Status + ": the status page answers, and the proxy is ready", ""}
}
