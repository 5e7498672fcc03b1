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
	// maxAnswer is the largest answer that is read, in bytes: thousands of sessions
	// fit.
	maxAnswer = 16 << 20

	clientTimeout = 10 * time.Second
)

// Client asks the status page of a proxy that runs.
type Client struct {
	// Address is where the page is: HOST:PORT, or unix:/PATH, as for listen.Open.
	Address string
	// Token is what the page asks for, if it asks for one.
	Token string
}

// Answer is one of the page's.
type Answer struct {
	Code int // of HTTP
	Body []byte
}

// ErrTooLarge is an answer of over 16 MiB, which no proxy gives.
var ErrTooLarge = errors.New("the answer has more than 16 MiB")

// Get asks for path, within ten seconds. It uses no proxy, follows no redirection
// and keeps no connection. An answer with any code is no error.
func (c Client) Get(ctx context.Context, path string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	address, err := listen.Parse(c.Address)
	if err != nil {
		return Answer{}, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network, address.Address)
		},
		DisableKeepAlives: true,
	}
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// The page answers to no names but localhost, lest a browser is led there by one.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return Answer{}, err
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, errors.Unwrap(err) // a *url.Error: the rest of it is another address
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("the answer broke off: %w", err)
	case len(body) > maxAnswer:
		return Answer{}, ErrTooLarge
	}
	return Answer{Code: response.StatusCode, Body: body}, nil
}

// NoPageError is a status that could not be had.
type NoPageError struct {
	Address string
	Code    int // of HTTP, or 0 if nobody answered
	Token   bool
	Err     error // why nobody answered, or why the answer is none
}

// Error says what happened and what to do.
func (e *NoPageError) Error() string {
	switch {
	case e.Code == 0:
		why := plain.Words(e.Err)
		if errors.Is(e.Err, context.DeadlineExceeded) {
			why = fmt.Sprintf("no answer within %v", clientTimeout)
		}
		return fmt.Sprintf("the status page at %s does not answer: %s; is the proxy running, with --status %s?", e.Address, why, e.Address)
	case e.Code == http.StatusUnauthorized && e.Token:
		return fmt.Sprintf("the status page at %s does not take this token; give the one that the proxy has, with --status-token-file FILE", e.Address)
	case e.Code == http.StatusUnauthorized:
		return fmt.Sprintf("the status page at %s wants a token; give the one that the proxy has, with --status-token-file FILE", e.Address)
	case e.Code == http.StatusOK:
		return fmt.Sprintf("what answers at %s is not bip324-proxy's status page: %v", e.Address, e.Err)
	}
	return fmt.Sprintf("what answers at %s is not bip324-proxy's status page: code %d", e.Address, e.Code)
}

// Unwrap returns the cause.
func (e *NoPageError) Unwrap() error { return e.Err }

// Status asks for the report on all that the proxy does, and returns it as it came
// too. The error is a *NoPageError.
func (c Client) Status(ctx context.Context) (report *Report, raw []byte, err error) {
	failed := &NoPageError{Address: c.Address, Token: c.Token != ""}
	answer, err := c.Get(ctx, "/api/status")
	if err != nil {
		failed.Err = err
		return nil, nil, failed
	}
	failed.Code = answer.Code
	if answer.Code != http.StatusOK {
		return nil, nil, failed
	}
	report = new(Report)
	if failed.Err = json.Unmarshal(answer.Body, report); failed.Err == nil && (report.Started.IsZero() || report.Opened == nil) {
		failed.Err = errors.New("it does not say what it should")
	}
	if failed.Err != nil {
		return nil, nil, failed
	}
	return report, answer.Body, nil
}
