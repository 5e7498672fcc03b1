package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"

	"bip324proxy/test/hostile"
)

// A peer that is too busy for a v2 handshake hangs up. It gets no v1 if it accepts v2 a moment later. If it hangs up
// twice it counts as v1 only. Where v1 is not allowed it is not dialled again.
func TestBusyPeer(t *testing.T) {
	for _, c := range []struct {
		fallback  string
		busy      int    // connections on which it hangs up; on later ones it speaks whatever it hears
		transport string // of the session; "" if it does not open
		dials     int
	}{
		{"always", 0, "v2", 1},
		{"always", 1, "v2", 2},
		{"always", 2, "v1", 3},
		{"never", 1, "", 1},
		{"overlay", 1, "", 1},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.fallback, c.busy), func(t *testing.T) {
			t.Parallel()
			u := startUnder(t, "--v1-fallback", c.fallback)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			v1 := hostile.V1(version.name, version.payload)
			type arrival struct {
				at    time.Time
				plain bool
			}
			came := make(chan arrival, 10)
			go func() {
				defer close(came)
				for n := 1; ; n++ {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					at := time.Now()
					first := make([]byte, 16)
					io.ReadFull(nc, first)
					came <- arrival{at, bytes.HasPrefix(v1, first)}
					switch back := (unread{nc, io.MultiReader(bytes.NewReader(first), nc)}); {
					case bytes.HasPrefix(v1, first):
						nc.Write(v1)
						io.Copy(io.Discard, nc)
					case n > c.busy:
						if e, err := (hostile.Script{}).Shake(back, false); err == nil {
							e.Send(hostile.V2(version.name, version.payload))
						}
						io.Copy(io.Discard, nc)
					}
					nc.Close()
				}
			}()
			client, err := hostile.Connect(u.addr, l.Addr().String(), patience)
			if err != nil {
				t.Fatal(err)
			}
			client.Write(v1)
			if name, _, err := hostile.ReadV1(client); (name == version.name) != (c.transport != "") {
				t.Errorf("the client got %q, %v", name, err)
			}
			client.Close()
			if e := u.end(t, client.LocalAddr()); (e.Msg == closed) != (c.transport != "") || e.Transport != c.transport {
				t.Errorf("unexpected log entry %+v", e)
			}
			l.Close()
			var all []arrival
			for a := range came {
				all = append(all, a)
			}
			if len(all) != c.dials {
				t.Fatalf("got %d connections, want %d", len(all), c.dials)
			}
			for i, a := range all {
				if a.plain != (c.transport == "v1" && i == c.dials-1) {
					t.Errorf("connection %d: plaintext %v, want %v", i+1, a.plain, !a.plain)
				}
			}
			if len(all) > 1 && all[1].at.Sub(all[0].at) < 900*time.Millisecond {
				t.Errorf("v2 was retried after %v", all[1].at.Sub(all[0].at))
			}
		})
	}
}

// btcd accepts four v2 handshakes at once from each /24, then two a second; it hangs up on the rest. None of those is
// followed by plaintext.
func TestBtcdIsBusy(t *testing.T) {
	const sessions = 12
	w := newWallet(t, &chaincfg.RegressionNetParams)
	node := startBtcdNode(t, w, "--v2transport")
	u := startUnder(t, "--v1-fallback", "always")
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], uint32(w.params.Net))
	var clients sync.WaitGroup
	var mu sync.Mutex
	transports := make(map[string]int)
	for range sessions {
		clients.Go(func() {
			client, err := hostile.Connect(u.addr, node.p2p, patience)
			if err != nil {
				t.Error(err)
				return
			}
			client.Write(hostile.V1On(magic, version.name, version.payload))
			for lines, more := u.of(client.LocalAddr().String()); len(lines) == 0; lines, more = u.of(client.LocalAddr().String()) {
				select {
				case <-more: // it opens or fails
				case <-t.Context().Done():
					return
				}
			}
			client.Close()
			e := u.end(t, client.LocalAddr())
			mu.Lock()
			transports[e.Transport]++
			mu.Unlock()
		})
	}
	clients.Wait()
	t.Logf("sessions by transport: %v", transports)
	if transports["v1"] > 0 || transports["v2"] < 4 || transports["v2"]+transports[""] != sessions {
		t.Errorf("sessions by transport: %v, want none on v1", transports)
	}
}
