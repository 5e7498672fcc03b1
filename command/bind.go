package command

import (
	"errors"
	"fmt"

	"bip324proxy/internal/hints"
	"bip324proxy/proxy"
	"bip324proxy/settings"
)

// awaitBind waits for the addresses of --bind that this machine does not have yet. An interface may
// come and go.
func (o *opening) awaitBind(s *settings.Settings) error {
	b := s.Policy.Bind
	if b.Interface != "" {
		return checkBind(s)
	}
	err := o.retry(b.String(), b.Check)
	if err == errStopped {
		return err
	}
	return bindError(s, err)
}

// checkBind returns an error if this machine does not have an address of --bind, or may not use its
// interface.
func checkBind(s *settings.Settings) error { return bindError(s, s.Policy.Bind.Check()) }

// bindError returns the error about --bind for that of a check. An interface may be missing.
func bindError(s *settings.Settings, err error) error {
	if err == nil || isAbsentInterface(err) {
		return nil
	}
	return fmt.Errorf("%s: %w; %s lists this machine's addresses", s.Where("bind"), err, showAddresses)
}

// isAbsentInterface reports whether err is that an interface is missing or down.
func isAbsentInterface(err error) bool {
	var e *proxy.BindError
	return errors.As(err, &e) && e.IsAbsentInterface()
}

// warnOfBind warns if the interface of --bind is not there now, or has no effect.
func (s *service) warnOfBind() {
	p := s.settings().Policy
	switch err := p.Bind.Check(); {
	case !p.Bind.IsSet():
	case p.Upstream != nil:
		s.log.Warn("--bind has no effect on connections through --upstream")
	case isAbsentInterface(err):
		s.log.Warn("no direct connection can leave now", "err", err, "hint", hints.For(proxy.Failure{Kind: proxy.KindBind, Err: err}))
	}
}
