package command

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"bip324proxy/internal/listen"
	"bip324proxy/status"
)

// checkStatus is what of the status page can be judged before it is opened. It
// opens nothing but the file of --status-token-file.
func (s *settings) checkStatus() (err error) {
	if s.token, err = s.readToken(); err != nil {
		return err
	}
	if s.hosts, err = parseHosts(s.statusHost); err != nil {
		return s.wrong("status-host", err)
	}
	if s.status == "" {
		return nil
	}
	address, err := listen.Parse(s.status)
	if err != nil {
		return s.wrong("status", err)
	}
	if address.OpenToAll() && s.token == "" {
		return s.wrong("status", fmt.Errorf("every user of this machine could connect to %s; write a mode that ends in 0, such as mode=0660&group=NAME, or add --status-token TOKEN", address.Address))
	}
	if addr := address.NetAddr(); addr != nil {
		return s.mayShow(addr)
	}
	return nil
}

func parseHosts(texts []string) (hosts []string, err error) {
	for _, text := range texts {
		host, err := status.ParseHost(text)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

// readToken is what the status page asks for, or empty.
func (s *settings) readToken() (string, error) {
	name, token := "status-token", s.statusToken
	if s.statusTokenFile != "" {
		if token != "" {
			return "", usageError{fmt.Errorf("%s and %s: give one of them", s.given(name), s.given("status-token-file"))}
		}
		name = "status-token-file"
		line, err := s.readLine(name, s.statusTokenFile)
		if err != nil {
			return "", err
		}
		token = strings.TrimSpace(line) // a token has no space
	} else if token == "" {
		return "", nil
	}
	if err := status.CheckToken(token); err != nil {
		if name == "status-token-file" {
			err = fmt.Errorf("%s: %w", s.statusTokenFile, err)
		}
		return "", s.wrong(name, err)
	}
	return token, nil
}

// mayShow returns an error if the status page at addr would be open to whom it
// must not.
func (s *settings) mayShow(addr net.Addr) error {
	if s.token == "" && !listen.IsLocal(addr) {
		return s.wrong("status", fmt.Errorf("%v is not on this machine alone, and whoever reaches it could see who is connected to whom; "+
			"add --status-token TOKEN, or take a loopback address, such as 127.0.0.1:1325", addr))
	}
	return nil
}

// listenStatus opens the listener of the status page, or returns nil if none is
// asked for.
func listenStatus(s *settings, o *opening) (net.Listener, error) {
	if s.status == "" {
		return nil, nil
	}
	l, err := o.open(s, "status", s.status, true)
	if err != nil {
		return nil, err
	}
	if err := s.mayShow(l.Addr()); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// showStatus serves the status page, if there is one, until stop is called.
func (s *service) showStatus() (stop func()) {
	l := s.page
	if l == nil {
		return func() {}
	}
	page := status.Server{
		Snapshot:  s.server.Snapshot,
		Accepting: s.server.Accepting,
		Settings:  func() []status.Setting { return s.settings().shown() },
		Version:   bareVersion(),
		Token:     s.settings().token,
		Hosts:     s.settings().hosts,
		LogLost:   s.queue.Lost,
		Log:       s.log,
	}
	where := []any{"addr", l.Addr().String()}
	if _, ok := l.Addr().(*net.TCPAddr); ok {
		where = append(where, "url", "http://"+l.Addr().String()+"/")
	}
	s.log.Info("status page", where...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := page.Serve(ctx, l); err != nil {
			s.log.Error("the status page has ended", "err", err)
		}
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-s.stops.second:
		case <-time.After(pagePatience):
		}
	}
}

// shown are the settings in force, as the status page has them.
func (s *settings) shown() []status.Setting {
	var all []status.Setting
	for _, f := range s.inForce() {
		all = append(all, f.Setting)
	}
	return all
}
