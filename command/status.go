package command

import (
	"context"
	"net"
	"time"

	"bip324proxy/settings"
	"bip324proxy/status"
)

// listenStatus opens the listener of the status page, or returns nil if none is
// asked for.
func listenStatus(s *settings.Settings, o *opening) (net.Listener, error) {
	if s.Status == "" {
		return nil, nil
	}
	l, err := o.open(s, "status", s.Status, true)
	if err != nil {
		return nil, err
	}
	if err := s.CheckStatusListener(l.Addr()); err != nil {
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
		Settings:  func() []status.Setting { return s.settings().Shown() },
		Version:   bareVersion(),
		Token:     s.settings().Token,
		Hosts:     s.settings().Hosts,
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
