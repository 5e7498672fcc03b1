package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Held connections without access block no others from the status page or the health checks.
func TestStatusHeld(t *testing.T) {
	t.Parallel()
	const token = "a-token-of-many-characters"
	p := startProxy(t, "--status", "127.0.0.1:0", "--status-token", token)
	addr := p.statusAddr(t)
	ask := func(path string) error {
		r, _ := http.NewRequest("GET", "http://"+addr+path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		client := http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("got status %d", answer.StatusCode)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	for name, says := range map[string]string{
		"silent":         "",
		"half a request": "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
		"401":            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"403":            "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"405":            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n",
		"healthy":        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	} {
		for range 40 {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			io.WriteString(nc, says)
			if strings.HasPrefix(name, "4") {
				nc.SetReadDeadline(time.Now().Add(patience))
				r, err := http.ReadResponse(bufio.NewReader(nc), nil)
				if err == nil && (fmt.Sprint(r.StatusCode) != name || !r.Close) {
					t.Errorf("got %s, closing: %v; want %s, closing", r.Status, r.Close, name)
				}
			}
		}
		for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/status", "/"} {
			if err := ask(path); err != nil {
				t.Errorf("%s while 40 connections are held (%s): %v", path, name, err)
			}
		}
	}
}
