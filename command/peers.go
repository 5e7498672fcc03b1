package command

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"bip324proxy/transport/fallback"
)

// openPeers opens the file of known peers. Without one, peers are known until the
// process ends.
func (s *service) openPeers() error {
	set := s.settings()
	s.peers = new(fallback.Peers)
	if set.KnownPeers == "" {
		return nil
	}
	peers, err := fallback.OpenPeers(set.KnownPeers)
	// It is the setting, not the machine's state, that is wrong.
	isWrongPath := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fallback.ErrPeersFile)
	switch {
	case err == nil:
	case errors.As(err, new(*fallback.CorruptPeersError)):
		s.log.Warn("using the known peers that could be read", "err", err)
	case set.Policy.Dialer.Mode == fallback.Never && !isWrongPath:
		s.peersLost = err
		s.log.Warn("known peers will not be saved; with --v1-fallback never, nothing depends on them", "err", err)
		return nil
	default:
		return fmt.Errorf("%s: %w", set.Where("known-peers"), err)
	}
	if n := peers.Count().Distrusted; n > 0 {
		s.log.Info("some known peers have implausible expiry times: the clock is wrong or was; keeping them for another week of running time",
			"peers", n, "file", set.KnownPeers)
	}
	peers.SaveFailed = func(err error) { s.log.Error("known peers could not be saved", "err", err) }
	s.peers = peers
	return nil
}

// savePeers saves the known peers.
func (s *service) savePeers() {
	if err := s.peers.Close(); err != nil {
		s.log.Error("known peers could not be saved", "err", err)
	}
}
