// Package statusapi asks a running proxy for its status, over HTTP.
package statusapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// maxAnswer is the largest answer that is read, in bytes: thousands of sessions
	// fit.
	maxAnswer = 16 << 20

	timeout = 10 * time.Second
)

// Client asks the status page at one address.
type Client struct {
	// Address is where the page is: HOST:PORT, or unix:/PATH.
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
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	network, where := "tcp", c.Address
	if socket, ok := strings.CutPrefix(c.Address, "unix:"); ok {
		network, where = "unix", socket
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, where)
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
		return Answer{}, err
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
