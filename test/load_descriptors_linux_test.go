package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
)

// With more clients than its descriptors allow, the proxy waits without spinning and serves clients as soon as
// descriptors are free. By default it accepts no more sessions than fit its descriptors; with a higher limit it runs
// out of them while it accepts, dials or saves the known peers.
func TestLoadDescriptors(t *testing.T) {
	t.Parallel()
	settling, watched := 500*time.Millisecond, time.Second
	if long {
		settling, watched = 5*time.Second, 20*time.Second
	}
	for _, limit := range []int{64, 256} {
		for _, flags := range [][]string{nil, {"--max-sessions", "100000"}} {
			t.Run(fmt.Sprintf("%d%s", limit, strings.Join(flags, " ")), func(t *testing.T) {
				peersFile := filepath.Join(t.TempDir(), "peers")
				p := startLimitedProxy(t, limit, append([]string{"--known-peers", peersFile}, flags...)...)
				peer := startV2Peer(t)
				echo := testkit.Echo(t)
				requireGood(t, p.addr, peer)

				// Clients that stay, passed through because such sessions use the most descriptors, and some that send nothing.
				clients := make(chan net.Conn, 2*limit)
				var refused, closed atomic.Int64
				var coming sync.WaitGroup
				for range limit {
					coming.Go(func() {
						nc, code, err := connectThrough(p.addr, echo)
						if err == nil && code == 0 {
							err = exchange(nc, []byte("hello"), []byte("hello"))
						}
						switch {
						case err != nil:
							closed.Add(1)
						case code != 0:
							refused.Add(1)
						default:
							clients <- nc
						}
					})
				}
				for range limit {
					nc, err := net.Dial("tcp", p.addr)
					if err != nil {
						t.Fatal(err)
					}
					clients <- nc
				}
				time.Sleep(settling) // all answers have arrived by now
				before := p.usage(t)
				time.Sleep(watched)
				after := p.usage(t)
				spin := 100 * (after.cpu - before.cpu).Seconds() / watched.Seconds()
				if spin > 25 { // other programs cause less
					t.Errorf("the proxy uses %.0f%% of a core while it waits", spin)
				}
				open := after.descriptors
				if flags != nil && open < limit-2 {
					t.Errorf("only %d of %d descriptors are open: this test proves nothing", open, limit)
				}
				if flags == nil && open > limit-4 {
					t.Errorf("%d of %d descriptors are open", open, limit)
				}

				began := time.Now()
				var leaving sync.WaitGroup
				leaving.Go(func() {
					for nc := range clients {
						nc.Close()
					}
				})
				eventually(t, "a client gets through", func() bool {
					nc, code, err := upgradeThrough(p.addr, peer)
					if err != nil || code != 0 {
						return false
					}
					nc.Close()
					return true
				})
				recovery := time.Since(began)
				coming.Wait()
				close(clients)
				leaving.Wait()
				p.settled(t)
				for range 20 {
					requireGood(t, p.addr, peer)
				}
				if !long { // or it would take five seconds
					p.cmd.Process.Signal(syscall.SIGTERM)
				}
				eventually(t, "the known peers are saved", func() bool {
					b, err := os.ReadFile(peersFile)
					return err == nil && strings.Contains(string(b), peer)
				})
				lines := len(p.out.all())
				t.Logf("%d descriptors of %d open; %.1f%% of a core; recovery in %v; refused %d, closed %d; %d lines of log",
					open, limit, spin, recovery.Round(time.Millisecond), refused.Load(), closed.Load(), lines)
			})
		}
	}
}
