package command

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"bip324proxy/internal/errno"
	"bip324proxy/internal/listen"
	"bip324proxy/proxy"
	"bip324proxy/settings"
)

// listener is an open listener.
type listener struct {
	net.Listener
	spec        string         // its address as the setting has it; empty for clients' sockets from systemd
	peer        string         // its clients are connected to that peer; empty for SOCKS
	transparent string         // the ways that its clients are redirected there; empty: none
	inbound     *proxy.Inbound // nil: a listener for clients
	openToAll   bool           // it is a unix socket that any local user may connect to
}

// attrs returns the attributes of its line in the log.
func (l listener) attrs(s *settings.Settings) []any {
	if l.inbound != nil {
		return l.inboundAttrs(s)
	}
	args := []any{"addr", l.Addr().String()}
	if l.transparent != "" {
		args = append(args, "transparent", l.transparent)
	}
	if l.peer != "" && s.LogAddresses {
		args = append(args, "peer", l.peer)
	}
	if upstreams := s.Upstreams(); upstreams != "" {
		args = append(args, "upstream", upstreams)
	}
	if s.Policy.Bind.IsSet() && s.LogAddresses {
		args = append(args, "bind", s.Policy.Bind.String())
	}
	return append(args, "v1_fallback", s.V1Fallback, "passthrough", s.Passthrough)
}

// socksAddresses returns the addresses where listeners accept SOCKS.
func socksAddresses(listeners []listener) *[]string {
	addresses := new([]string)
	for _, l := range listeners {
		if l.peer == "" && l.transparent == "" && l.inbound == nil {
			*addresses = append(*addresses, listen.Spelling(l.Addr()))
		}
	}
	return addresses
}

// openListeners opens the listeners of --listen, systemd, --peer, --transparent and
// --inbound. Without --listen and systemd it opens those of the default addresses that this
// machine has, one at least; missing has the errors of the others. With o.onlyGiven it opens
// neither systemd's nor the default ones.
func openListeners(s *settings.Settings, o *opening) (all []listener, missing []error, err error) {
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close()
			}
		}
	}()
	var activated []listen.ActivatedListener
	if !o.onlyGiven {
		activated, err = listen.Activated()
	}
	for _, l := range activated {
		all = append(all, listener{Listener: l.Listener})
	}
	if err == nil {
		err = assignInbound(s, activated, all)
	}
	if err == nil {
		err = assignTransparent(s, activated, all)
	}
	if err != nil {
		return all, nil, err
	}
	clients := slices.ContainsFunc(all, func(l listener) bool { return l.inbound == nil && l.transparent == "" })
	open := func(name string, l listener, wait bool) (err error) {
		if l.Listener, err = o.open(s, name, l.spec, wait); err == nil {
			address, _ := listen.Parse(l.spec) // which Open has parsed
			l.openToAll = address.OpenToAll()
			all = append(all, l)
		}
		return err
	}
	if given := s.IsGiven("listen"); given || !clients && !o.onlyGiven {
		for _, spec := range s.Listen {
			switch err := open("listen", listener{spec: spec}, given); {
			case err == nil:
			case !given && listen.IsNoAddress(err):
				missing = append(missing, err)
			default:
				return all, nil, err
			}
		}
		if len(missing) == len(s.Listen) {
			missing = nil
			if err := open("listen", listener{spec: s.Listen[0]}, true); err != nil {
				return all, nil, err
			}
		}
	}
	for _, p := range s.PeerListeners {
		if err := open("peer", listener{spec: p.Listen, peer: p.Peer}, true); err != nil {
			return all, nil, err
		}
	}
	for _, spec := range s.Transparent {
		if _, ok := settings.Activated(spec); ok {
			continue
		}
		if err := open("transparent", listener{spec: spec}, true); err != nil {
			return all, nil, err
		}
		if err := all[len(all)-1].makeTransparent(s); err != nil {
			return all, nil, err
		}
	}
	for _, in := range s.Inbound {
		if in.Activated != "" {
			continue
		}
		if err := open("inbound", listener{spec: in.Listen, inbound: &in.Inbound}, true); err != nil {
			return all, nil, err
		}
	}
	if err := checkNodes(s, all); err != nil {
		return all, nil, err
	}
	return all, missing, checkListeners(s, all)
}

// checkListeners returns an error if clients that must not could use one of the
// listeners, by its actual address.
func checkListeners(s *settings.Settings, all []listener) error {
	for _, l := range all {
		err := error(nil)
		switch {
		case l.inbound != nil:
			err = s.CheckInboundListener(l.Addr())
		case l.transparent != "":
			err = s.CheckTransparentListener(l.Addr())
		default:
			err = s.CheckListener(l.Addr(), l.peer, l.openToAll)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openStatus opens the listener of the status page; nil if there is none.
func openStatus(s *settings.Settings, o *opening) (net.Listener, error) {
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

const (
	// addressTimeout is how long the start waits for all addresses that this machine does
	// not have yet, as of DHCP, a VPN or a bridge of containers.
	addressTimeout = time.Minute

	addressInterval = 500 * time.Millisecond
)

// errStopped means that a signal ended the program before it was ready.
var errStopped = errors.New("stopped before it was ready")

// opening opens listeners at the start of the program.
type opening struct {
	listen func(spec string) (net.Listener, error) // listen.Open
	log    *slog.Logger
	stop   <-chan struct{} // ends the wait

	onlyGiven bool // open neither systemd's listeners nor those of the default addresses

	until time.Time // when the wait is over, once it has begun
}

// open opens the listener that the setting of that name gives as spec. With wait it waits
// for an address that this machine does not have yet. The error is a *settings.Error if
// the setting is invalid, or errStopped.
func (o *opening) open(s *settings.Settings, name, spec string, wait bool) (net.Listener, error) {
	l, err := o.await(spec, wait)
	switch {
	case err == nil || err == errStopped:
		return l, err
	case errors.As(err, new(*listen.SpecError)):
		return nil, s.Invalid(name, err)
	case errors.As(err, new(*listen.FileError)):
		return nil, fmt.Errorf("%s: %w", s.Where(name), err)
	}
	hint := listenHint(err, spec)
	if name == "inbound" && errno.Is(err, errno.EADDRINUSE) {
		hint = inboundInUse
	}
	if hint != "" {
		hint += "; "
	}
	return nil, fmt.Errorf("cannot listen: %w; %sto use another address, set %s", err, hint, s.Where(name))
}

// await opens a listener at spec; with wait it waits for its address.
func (o *opening) await(spec string, wait bool) (l net.Listener, err error) {
	if !wait {
		return o.listen(spec)
	}
	err = o.retry(spec, func() (err error) {
		l, err = o.listen(spec)
		return err
	})
	return l, err
}

// retry calls try until its error is not that this machine does not have the address spec yet.
func (o *opening) retry(spec string, try func() error) error {
	for told := false; ; told = true {
		err := try()
		if err == nil || !isAbsent(err, spec) {
			return err
		}
		if o.until.IsZero() {
			o.until = time.Now().Add(addressTimeout)
		}
		left := time.Until(o.until)
		if left <= 0 {
			return err
		}
		if !told {
			o.log.Warn("waiting for an address that this machine does not have yet", "addr", spec, "at_most", left.Round(time.Second))
		}
		select {
		case <-time.After(min(left, addressInterval)):
		case <-o.stop:
			return errStopped
		}
	}
}

// isAbsent reports whether listening at spec failed because this machine has no such
// address or interface.
func isAbsent(err error, spec string) bool {
	zone := strings.Contains(spec, "%") // names an interface, which the system is told by number only
	return errno.Is(err, errno.EADDRNOTAVAIL, errno.ENODEV) || zone && errno.Is(err, errno.EINVAL)
}

// isNoFamily reports whether listening failed because the system lacks the address family.
func isNoFamily(err error) bool { return errno.Is(err, errno.EAFNOSUPPORT) }

// listenHint returns why listening at spec failed with err and what can be done, or
// "" if err says enough.
func listenHint(err error, spec string) string {
	address, _ := listen.Parse(spec) // which Open has parsed
	if address.Network == "unix" {
		return socketHint(err, address.Address)
	}
	_, port, _ := net.SplitHostPort(spec)
	switch {
	case errno.Is(err, errno.EADDRINUSE):
		return fmt.Sprintf("another program uses that address, perhaps another bip324-proxy; %s shows which", showListeners)
	case isAbsent(err, spec):
		return fmt.Sprintf("this machine does not have that address; %s lists its addresses", showAddresses)
	case errno.Is(err, errno.EACCES, syscall.EPERM) && len(port) < 4 && port != "0":
		return "ports below 1024 need a privilege; use a higher one, such as 1324"
	case errno.Is(err, errno.EACCES, syscall.EPERM):
		return "the system does not allow this program to use that port"
	case isNoFamily(err):
		return "this address family, IPv4 or IPv6, is unavailable on this machine or in the service's sandbox; use the other"
	case errno.Is(err, errno.EMFILE, syscall.ENFILE):
		return "too many open files; raise the limit (ulimit -n)"
	}
	return ""
}

// socketHint returns the hint for the path of a unix socket.
func socketHint(err error, path string) string {
	switch {
	case errno.Is(err, errno.EADDRINUSE):
		return "another program uses that socket, perhaps another bip324-proxy"
	case errno.Is(err, syscall.ENOENT):
		return "its directory does not exist; create it"
	case errno.Is(err, syscall.ENOTDIR):
		return "part of the path is not a directory"
	case errno.Is(err, errno.EACCES, syscall.EPERM):
		return "no write permission in its directory; grant it"
	case errno.Is(err, syscall.EROFS):
		return "its file system is read-only; under systemd, use a path in a RuntimeDirectory="
	case errno.Is(err, syscall.ENAMETOOLONG), errno.Is(err, errno.EINVAL) && len(path) > 90:
		return fmt.Sprintf("the path has %d bytes; a socket's may have 107 on Linux, 103 elsewhere", len(path))
	case errno.Is(err, errno.EAFNOSUPPORT):
		return "this system has no unix sockets; use HOST:PORT"
	case errno.Is(err, syscall.ENOSPC, syscall.EDQUOT):
		return "its file system is full; free some space"
	}
	return ""
}

// showListeners and showAddresses are the system's commands.
var showListeners, showAddresses = func() (listeners, addresses string) {
	switch runtime.GOOS {
	case "linux":
		return "ss -ltnp", "ip address"
	case "freebsd":
		return "sockstat -l", "ifconfig"
	case "windows":
		return "netstat -ano", "ipconfig"
	}
	return "lsof -nP -iTCP -sTCP:LISTEN", "ifconfig"
}()
