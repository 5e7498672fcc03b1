package status

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bip324proxy/proxy"
)

// servePage serves a proxy's status until the test ends.
func servePage(t *testing.T, network, address, token string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	server := &Server{Snapshot: new(proxy.Server).Snapshot, Version: "1.2.3", Token: token, Log: slog.New(slog.DiscardHandler)}
	go func() { served <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l
}

// answering serves every request with handler.
func answering(t *testing.T, handler http.HandlerFunc) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return l.Addr().String()
}

// The client understands the page's server at any kind of address.
func TestStatus(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	servePage(t, "unix", socket, token)
	_, port, _ := net.SplitHostPort(servePage(t, "tcp", "127.0.0.1:0", "").Addr().String())
	for _, c := range []Client{
		{Address: "127.0.0.1:" + port},
		{Address: "localhost:" + port, Token: "not needed"},
		{Address: "unix:" + socket, Token: token},
	} {
		report, raw, err := c.Status(t.Context())
		if err != nil || report.Version != "1.2.3" || report.MaxSessions == 0 {
			t.Errorf("%s: got %+v, %v", c.Address, report, err)
		}
		if !json.Valid(raw) || !strings.Contains(string(raw), `"version":"1.2.3"`) {
			t.Errorf("%s: got %s", c.Address, raw)
		}
	}
}

// If a status cannot be fetched, the error says why and what to do.
func TestNoStatus(t *testing.T) {
	locked := servePage(t, "tcp", "127.0.0.1:0", token).Addr().String()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	elsewhere := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirection was followed") })
	big := `{"version":"` + strings.Repeat("x", maxAnswer) + `"}`
	for name, test := range map[string]struct {
		client Client
		code   int
		says   string
	}{
		"nobody":      {Client{Address: gone.Addr().String()}, 0, "does not answer: connection refused; is the proxy running with --status " + gone.Addr().String() + "?"},
		"no token":    {Client{Address: locked}, 401, "requires a token; give the proxy's with --status-token-file FILE"},
		"wrong token": {Client{Address: locked, Token: token + "0"}, 401, "rejects this token"},
		"another":     {Client{Address: answering(t, http.NotFound)}, 404, "is not bip324-proxy's status page: HTTP status code 404"},
		"redirection": {Client{Address: answering(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+elsewhere, http.StatusFound)
		}), Token: token}, 302, "code 302"},
		"HTML":       {Client{Address: answering(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })}, 200, "is not bip324-proxy's status page: invalid character '<'"},
		"other JSON": {Client{Address: answering(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"version":"2"}`) })}, 200, "its report has no start or no counts"},
		"too large":  {Client{Address: answering(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, big) })}, 0, "the answer is larger than 16 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := test.client.Status(t.Context())
			var none *UnavailableError
			if !errors.As(err, &none) || none.Code != test.code || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want an error with %q", err, test.says)
			}
		})
	}
}

// A cancelled request returns at once.
func TestStatusCancelled(t *testing.T) {
	arrived, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	address := answering(t, func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-leave
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	began := time.Now()
	late, done := context.WithTimeout(t.Context(), -1)
	defer done()
	if _, _, err := (Client{Address: address}).Status(late); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not answer: no answer within 10s; is the proxy running") {
		t.Error(err)
	}
	if _, _, err := (Client{Address: address}).Status(ctx); !errors.Is(err, context.Canceled) || time.Since(began) > clientTimeout/2 {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}
