package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"bip324proxy/proxy"
	"bip324proxy/socks"
	"bip324proxy/transport"
)

// configure makes the server that the flags ask for.
func configure(c *cli.Context, log *slog.Logger) (*proxy.Server, error) {
	fallback, err := transport.ParseFallback(c.String("v1-fallback"))
	if err != nil {
		return nil, usageError{fmt.Errorf("--v1-fallback: %w", err)}
	}
	passthrough := c.String("passthrough")
	if passthrough != "allow" && passthrough != "deny" {
		return nil, usageError{fmt.Errorf("--passthrough: %q is neither allow nor deny", passthrough)}
	}
	if c.Duration("grace") < 0 {
		return nil, usageError{errors.New("--grace: a time cannot be negative; 0 ends sessions at once")}
	}
	switch {
	case c.Int("message-memory") < 8 || c.Int("message-memory") > 1024*1024:
		return nil, usageError{errors.New("--message-memory: from 8 MiB, for a message each way, to a million")}
	case c.IsSet("max-sessions") && c.Int("max-sessions") < 1:
		return nil, usageError{errors.New("--max-sessions: there must be one at least; leave it out for as many as there are descriptors for")}
	case c.Int("client-rate") < 1:
		return nil, usageError{errors.New("--client-rate: it must be one a second at least")}
	}
	auth, err := credentials(c)
	if err != nil {
		return nil, err
	}
	var upstream *socks.Upstream
	if url := c.String("upstream"); url != "" {
		if upstream, err = socks.ParseUpstream(url); err != nil {
			return nil, usageError{fmt.Errorf("--upstream: %w", err)}
		}
	}
	var rules proxy.Rules
	if rules.Allow, err = parseRules("allow", c.StringSlice("allow")); err != nil {
		return nil, err
	}
	if rules.Deny, err = parseRules("deny", c.StringSlice("deny")); err != nil {
		return nil, err
	}
	peers, err := openPeers(c.String("peer-memory"), log)
	if err != nil {
		return nil, err
	}
	return &proxy.Server{
		Policy: proxy.Policy{
			Dialer:          transport.Dialer{Fallback: fallback, Peers: peers},
			Upstream:        upstream,
			DenyPassthrough: passthrough == "deny",
			Rules:           rules,
			Socks:           socks.Config{Auth: auth},
		},
		MaxSessions:   c.Int("max-sessions"),
		MessageMemory: c.Int("message-memory") << 20,
		ClientRate:    c.Int("client-rate"),
		Log:           log,
	}, nil
}

func parseRules(flag string, texts []string) (rules []proxy.Rule, err error) {
	for _, text := range texts {
		rule, err := proxy.ParseRule(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--%s: %w", flag, err)}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// splitPeer reads a --peer: ADDRESS=PEER.
func splitPeer(pair string) (listen, peer string, err error) {
	listen, peer, ok := strings.Cut(pair, "=")
	if _, err := socks.ParseAddr(peer); !ok || err != nil {
		return "", "", usageError{fmt.Errorf("--peer: %q is not ADDRESS=PEER; write 127.0.0.1:38401=HOST:PORT", pair)}
	}
	return listen, peer, nil
}

// openPeers returns the memory that is kept at path, or in this process only if
// there is none.
func openPeers(path string, log *slog.Logger) (*transport.Peers, error) {
	if path == "" {
		return new(transport.Peers), nil
	}
	peers, err := transport.OpenPeers(path)
	if errors.As(err, new(*transport.CorruptPeersError)) {
		log.Warn("going on with what could be read", "err", err)
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("--peer-memory: %w", err)
	}
	peers.SaveFailed = func(err error) { log.Error("the peer memory could not be saved", "err", err) }
	return peers, nil
}

// credentials are what SOCKS clients must give, or nil.
func credentials(c *cli.Context) (*socks.Credentials, error) {
	pair, file := c.String("auth"), c.String("auth-file")
	switch {
	case pair == "" && file == "":
		return nil, nil
	case pair != "" && file != "":
		return nil, usageError{errors.New("--auth and --auth-file: give one of them")}
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--auth-file: %w", err)
		}
		defer f.Close()
		if pair, err = firstLine(f); err != nil {
			return nil, fmt.Errorf("--auth-file: %s: %w", file, err)
		}
	}
	return parseCredentials(pair)
}

func firstLine(r io.Reader) (string, error) {
	lines := bufio.NewScanner(r)
	lines.Scan()
	return lines.Text(), lines.Err()
}

// parseCredentials reads USER:PASSWORD. The password may have colons.
func parseCredentials(pair string) (*socks.Credentials, error) {
	user, password, ok := strings.Cut(pair, ":")
	if !ok || user == "" || len(user) > 255 || len(password) > 255 {
		return nil, usageError{errors.New("--auth, --auth-file: write USER:PASSWORD, of at most 255 bytes each")}
	}
	return &socks.Credentials{Username: user, Password: password}, nil
}

func logger(c *cli.Context) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, usageError{fmt.Errorf("--log-level: %q is none of debug, info, warn and error", c.String("log-level"))}
	}
	options := &slog.HandlerOptions{Level: level}
	switch c.String("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(c.App.ErrWriter, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(c.App.ErrWriter, options)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format: %q is neither text nor json", c.String("log-format"))}
}
