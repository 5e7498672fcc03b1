package command

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bip324proxy/internal/errno"
	"bip324proxy/settings"
)

// absent is the error from listening on an address that this machine does not have.
var absent = &net.OpError{Op: "listen", Net: "tcp", Err: errno.EADDRNOTAVAIL}

// At start the program waits for missing addresses, one minute in total, and logs that once.
func TestOpeningWaits(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		fails error
	}{
		"at once":           {0, nil},
		"in time":           {59 * time.Second, nil},
		"too late":          {61 * time.Second, errno.EADDRNOTAVAIL},
		"then another uses": {time.Hour, errno.EADDRINUSE},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				began := time.Now()
				fails := error(absent)
				o := &opening{log: slog.New(slog.NewTextHandler(&log, nil)), listen: func(string) (net.Listener, error) {
					switch took := time.Since(began); {
					case took >= c.after:
						return nil, nil
					case c.fails == errno.EADDRINUSE && took > 10*time.Second:
						return nil, errno.EADDRINUSE
					}
					return nil, fails
				}}
				_, err := o.open(new(settings.Settings), "listen", "192.0.2.1:1324", true)
				if !errors.Is(err, c.fails) {
					t.Errorf("got error %v, want %v", err, c.fails)
				}
				if err != nil && errors.As(err, new(*settings.Error)) {
					t.Error("the error is an input error")
				}
				took, want := time.Since(began), min(c.after, addressTimeout)
				if c.fails == errno.EADDRINUSE {
					want = 10 * time.Second
				}
				if took < want || took > want+addressInterval {
					t.Errorf("it took %v, want %v", took, want)
				}
				if lines := strings.Count(log.String(), "addr=192.0.2.1:1324"); (lines == 1) != (c.after > 0) || lines > 1 {
					t.Errorf("the log says\n%s", &log)
				}
				if c.fails == errno.EADDRNOTAVAIL { // the next listener does not wait again
					began := time.Now()
					if _, err := o.open(new(settings.Settings), "listen", "192.0.2.2:1324", true); err == nil && time.Since(began) > 0 {
						t.Errorf("the next listener: %v", err)
					}
				}
			})
		})
	}
}

// A signal ends the wait.
func TestOpeningStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		o := &opening{log: slog.New(slog.DiscardHandler), stop: stop, listen: func(string) (net.Listener, error) { return nil, absent }}
		time.AfterFunc(1300*time.Millisecond, func() { close(stop) })
		began := time.Now()
		if _, err := o.open(new(settings.Settings), "listen", "192.0.2.1:1324", true); err != errStopped || time.Since(began) != 1300*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

// Each system error has its hint.
func TestListenHints(t *testing.T) {
	for _, c := range []struct {
		spec  string
		fails syscall.Errno
		says  string
	}{
		{"127.0.0.1:1324", errno.EADDRINUSE, "another program uses that address, perhaps another bip324-proxy; " + showListeners},
		{"192.0.2.1:1324", errno.EADDRNOTAVAIL, "this machine does not have that address; " + showAddresses},
		{"[fe80::1%eth7]:1324", errno.EINVAL, "this machine does not have that address"},
		{"[fe80::1%eth7]:1324", errno.ENODEV, "this machine does not have that address"},
		{"127.0.0.1:80", errno.EACCES, "ports below 1024"},
		{"127.0.0.1:999", syscall.EPERM, "ports below 1024"},
		{"127.0.0.1:1324", errno.EACCES, "does not allow"},
		{"127.0.0.1:0", errno.EACCES, "does not allow"},
		{"[::1]:1324", errno.EAFNOSUPPORT, "IPv6"},
		{"127.0.0.1:1324", errno.EMFILE, "ulimit -n"},
		{"127.0.0.1:1324", errno.EINVAL, ""},
		{"unix:/run/s", errno.EADDRINUSE, "another program uses that socket"},
		{"unix:/run/s", syscall.ENOENT, "create it"},
		{"unix:/run/s", syscall.ENOTDIR, "is not a directory"},
		{"unix:/run/s", errno.EACCES, "no write permission"},
		{"unix:/run/s", syscall.EPERM, "no write permission"},
		{"unix:/run/s", syscall.EROFS, "read-only"},
		{"unix:/run/s", errno.EINVAL, ""},
		{"unix:/run/" + strings.Repeat("s", 110), errno.EINVAL, "the path has 115 bytes"},
		{"unix:/run/" + strings.Repeat("s", 300), syscall.ENAMETOOLONG, "the path has 305 bytes"},
		{"unix:/run/s", syscall.ENOSPC, "free some space"},
		{"unix:/run/s", errno.EAFNOSUPPORT, "HOST:PORT"},
	} {
		hint := listenHint(&net.OpError{Op: "listen", Err: c.fails}, c.spec)
		if !strings.Contains(hint, c.says) || (c.says == "") != (hint == "") {
			t.Errorf("%s, %v: got %q, want %q", c.spec, c.fails, hint, c.says)
		}
	}
}
