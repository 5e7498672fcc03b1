package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/plain"
)

const (
	maxAnswer     = 16 << 20 // bytes; thousands of sessions fit
	clientTimeout = 10 * time.Second
)

// Client fetches the status of a running proxy.
type Client struct {
	Address string // of the status page: HOST:PORT or unix:/PATH
	Token   string // if the page requires one
}

// Get requests path and returns the answer, whatever its HTTP status code. It uses no proxy, follows
// no redirect and keeps no connection.
func (c Client) Get(ctx context.Context, path string) (code int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	address, err := listen.Parse(c.Address)
	if err != nil {
		return 0, nil, err
	}
	client := http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, address.Network, address.Address)
			},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// The page answers to no other name, because of DNS rebinding.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, errors.Unwrap(err) // a *url.Error, which has the wrong address
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("the answer is incomplete: %w", err)
	case len(body) > maxAnswer:
		return 0, nil, errors.New("the answer is larger than 16 MiB")
	}
	return response.StatusCode, body, nil
}

// UnavailableError reports that the status could not be fetched.
type UnavailableError struct {
	Address string
	Code    int   // the HTTP status code, or 0 if there was no answer
	Token   bool  // the request had one
	Err     error // why there was no answer, or why it is invalid
}

func (e *UnavailableError) Error() string {
	switch {
	case e.Code == 0:
		why := plain.Words(e.Err)
		if errors.Is(e.Err, context.DeadlineExceeded) {
			why = fmt.Sprintf("no answer within %v", clientTimeout)
		}
		return fmt.Sprintf("the status page at %s does not answer: %s; is the proxy running with --status %s?", e.Address, why, e.Address)
	case e.Code == http.StatusUnauthorized && e.Token:
		return fmt.Sprintf("the status page at %s rejects this token; give the proxy's with --status-token-file FILE", e.Address)
	case e.Code == http.StatusUnauthorized:
		return fmt.Sprintf("the status page at %s requires a token; give the proxy's with --status-token-file FILE", e.Address)
	case e.Code == http.StatusOK:
		return fmt.Sprintf("%s is not bip324-proxy's status page: %v", e.Address, e.Err)
	}
	return fmt.Sprintf("%s is not bip324-proxy's status page: HTTP status code %d", e.Address, e.Code)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Status fetches the proxy's report, and returns it both parsed and as JSON. The error is an
// *UnavailableError.
func (c Client) Status(ctx context.Context) (report *Report, raw []byte, err error) {
	code, raw, err := c.Get(ctx, "/api/status")
	if err == nil && code == http.StatusOK {
		report = new(Report)
		if err = json.Unmarshal(raw, report); err == nil && (report.Started.IsZero() || report.Opened == nil) {
			err = errors.New("its report has no start or no counts")
		}
	}
	if err != nil || code != http.StatusOK {
		return nil, nil, &UnavailableError{c.Address, code, c.Token != "", err}
	}
	return report, raw, nil
}
