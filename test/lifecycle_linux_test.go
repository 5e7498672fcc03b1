package test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// activate runs a proxy with a socket passed as systemd passes it.
func activate(t *testing.T, socket *os.File) *proxy {
	t.Helper()
	p := &proxy{program: &program{name: "bip324-proxy", out: newLines(), done: make(chan struct{})}}
	p.cmd = exec.Command("/bin/sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" --log-format json --grace 1m`, binaries.proxy)
	p.cmd.ExtraFiles = []*os.File{socket}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	p.await(t, "listening", func(e event) bool { return e.Msg == "listening" })
	return p
}

// The proxy restarts repeatedly on a socket that stays open, while clients connect without pause: every client connects
// and is answered. If the proxy is killed, its accepted clients are cut off; all others are served.
func TestRestartLosesNoConnect(t *testing.T) {
	t.Parallel()
	for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(how.String(), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			socket, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			defer l.Close() // never accepts
			peer := startV2Peer(t)
			p := activate(t, socket)

			stop := make(chan struct{})
			var clients sync.WaitGroup
			var mu sync.Mutex
			served, cut := 0, 0
			for range 4 {
				clients.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						nc, err := net.Dial("tcp", l.Addr().String())
						if err != nil {
							t.Errorf("a connect was refused: %v", err)
							return
						}
						err = serveOne(nc, peer)
						nc.Close()
						mu.Lock()
						if err == nil {
							served++
						} else {
							cut++
							if how == syscall.SIGTERM {
								t.Errorf("a client was cut off although the proxy was not killed: %v", err)
							}
						}
						mu.Unlock()
					}
				})
			}
			const restarts = 5
			for range restarts {
				mu.Lock()
				before := served
				mu.Unlock()
				eventually(t, "clients are served", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return served > before+20
				})
				p.cmd.Process.Signal(how)
				select {
				case <-p.done:
				case <-time.After(patience):
					t.Fatal("the proxy is still running")
				}
				if code := p.cmd.ProcessState.ExitCode(); how == syscall.SIGTERM && code != 0 {
					t.Errorf("got exit code %d, want 0", code)
				}
				p = activate(t, socket)
			}
			close(stop)
			clients.Wait()
			t.Logf("%d restarts by %v: %d clients served, %d cut off, none refused", restarts, how, served, cut)
			if served == 0 || cut > 4*restarts {
				t.Errorf("got %d clients served, %d cut off; want at most %d cut off", served, cut, 4*restarts)
			}
		})
	}
}

// serveOne plays a client from its greeting to the peer's VERACK.
func serveOne(nc net.Conn, dest string) error {
	nc.SetDeadline(time.Now().Add(patience))
	greeting, request := socksConnectTo(dest)
	if err := exchange(nc, greeting, []byte{5, 0}); err != nil {
		return err
	}
	if err := exchange(nc, request, []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	}
	nc.Write(versionBytes)
	_, err := io.ReadFull(nc, make([]byte, verackSize))
	return err
}

// The second signal ends the proxy despite live sessions and a long grace period; each session is logged.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "--grace", "1h")
	peer := startV2Peer(t)
	nc, code, err := upgradeThrough(p.addr, peer)
	if err != nil || code != 0 {
		t.Fatalf("reply %d, %v", code, err)
	}
	defer nc.Close()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.await(t, "shutting down", func(e event) bool { return strings.HasPrefix(e.Msg, "shutting down") })
	eventually(t, "connects are refused", func() bool {
		nc, err := net.Dial("tcp", p.addr)
		if err == nil {
			nc.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if err := exchange(nc, pingBytes, nil); err != nil { // the session continues
		t.Error(err)
	}
	if _, err := io.ReadFull(nc, make([]byte, pongSize)); err != nil {
		t.Errorf("after the first signal: %v", err)
	}
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("the proxy is still running")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	if closed := p.closed(t, 1); closed.Reason != "the proxy is stopping" {
		t.Errorf("unexpected log entry %+v", closed)
	}
}

// The client, the node or the upstream proxy is killed in the middle of a session: the session ends, and the proxy has
// as many open descriptors as before.
func TestCrashFreesEverything(t *testing.T) {
	t.Parallel()
	w := newWallet(t, &chaincfg.RegressionNetParams)
	upstream := startProxy(t)
	p := startProxy(t, "--upstream", "socks5://"+upstream.addr)
	settled := p.settled(t)
	session := 0
	for _, victim := range []string{"client", "node", "upstream"} {
		node := startBtcdNode(t, w, "--v2transport") // the upstream sees its sessions as passthrough
		node.mine(1)
		client := startBtcdClient(t, w.params, p.addr, node.p2p)
		catchUp(t, client, node)
		map[string]*program{"client": client.program, "node": node.program, "upstream": upstream.program}[victim].kill()
		closed := p.await(t, "the session ends", func(e event) bool { return e.Msg == "session closed" && e.Session > session })
		session = closed.Session
		t.Logf("%s killed: %s", victim, closed.Reason)
		client.kill() // or it would reconnect
		node.kill()
		p.awaitDescriptors(t, settled)
		for _, line := range p.out.all() { // the client's attempts in the meantime
			var e event
			json.Unmarshal([]byte(line), &e)
			session = max(session, e.Session)
		}
	}
}
