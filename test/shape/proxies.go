package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// proxy is a running bip324-proxy.
type proxy struct {
	*program
	clients string // address of its SOCKS listener
	peers   string // address of its listener for peers, if it has one
	status  string // URL
}

// startProxy runs a proxy. With a node it takes peers for it; with a shape it shapes those, else its clients' sessions.
func startProxy(ctx context.Context, dir, logs, name, path, shape, node string) (*proxy, error) {
	args := []string{"--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--log-format", "json"}
	p := &proxy{}
	if node != "" {
		var err error
		if p.peers, err = freeAddr(); err != nil {
			return nil, err
		}
		args = append(args, "--inbound", p.peers+"="+node, "--inbound-network", "regtest", "--inbound-source", "none")
		shape = p.peers + "=" + shape
	}
	if shape != "off" {
		args = append(args, "--shape", shape)
	}
	var err error
	if p.program, err = start(dir, logs, name, path, args...); err != nil {
		return nil, err
	}
	if err := p.await(ctx, p.findAddresses); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// findAddresses looks in the proxy's log for its addresses.
func (p *proxy) findAddresses() bool {
	text, _ := os.ReadFile(p.log)
	inbound := p.peers == ""
	for line := range strings.Lines(string(text)) {
		var event struct {
			Msg, Addr string
			Inbound   bool
		}
		switch {
		case json.Unmarshal([]byte(line), &event) != nil:
		case event.Msg == "listening" && event.Inbound:
			inbound = true
		case event.Msg == "listening":
			p.clients = event.Addr
		case event.Msg == "status page":
			p.status = "http://" + event.Addr
		}
	}
	return p.clients != "" && p.status != "" && inbound
}

// shapeCounts is what a proxy reports about shapes.
type shapeCounts struct {
	Overflows uint64 `json:"shape_overflows"`
	Sessions  []struct {
		Shape     string `json:"shape"`
		Transport string `json:"transport"`
	} `json:"sessions"`
	Inbound *struct {
		Overflows uint64 `json:"shape_overflows"`
	} `json:"inbound"`
}

// counts asks the proxy for its status.
func (p *proxy) counts(ctx context.Context) (*shapeCounts, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.status+"/api/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	c := &shapeCounts{}
	if err := json.Unmarshal(body, c); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return c, nil
}

// errShape is why a recording would not be of the mode that it says.
var errShape = errors.New("sessions do not have the mode")

// checkShape returns an error unless the proxy has n sessions of v2 with a mode.
func (p *proxy) checkShape(ctx context.Context, mode string, n int) error {
	c, err := p.counts(ctx)
	if err != nil {
		return err
	}
	if mode == "off" {
		mode = ""
	}
	right := 0
	for _, s := range c.Sessions {
		if s.Transport == "v2" && s.Shape == mode {
			right++
		}
	}
	if right != n {
		return fmt.Errorf("%s: %w %q: %d of %d have", p.name, errShape, mode, right, n)
	}
	return nil
}
