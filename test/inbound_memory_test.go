package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"bip324proxy/test/hostile"
)

// largeBlock is the payload of the largest message, nearly.
var largeBlock = bytes.Repeat(pool[:1000], 3990)

// blockNode is a node behind the program: it sends a block to whoever asks for data, and notes the blocks that it gets.
type blockNode struct {
	addr string
	got  chan time.Time
}

func startBlockNode(t *testing.T) *blockNode {
	t.Helper()
	n := &blockNode{got: make(chan time.Time, 1)}
	n.addr = listen(t, func(nc *net.TCPConn) {
		for {
			name, payload, err := hostile.ReadV1(nc)
			if err != nil {
				return
			}
			switch name {
			case "version":
				nc.Write(hostile.V1("version", hostile.Version(nodeAgent)))
			case "getdata":
				nc.Write(hostile.V1("block", largeBlock))
			case "block":
				if !bytes.Equal(payload, largeBlock) {
					t.Error("the node got another block")
				}
				n.got <- time.Now()
			}
		}
	})
	return n
}

// waitingForMemory returns how many messages of peers' sessions wait for memory.
func waitingForMemory(t *testing.T, status string) int {
	t.Helper()
	resp, err := http.Get("http://" + status + "/api/status")
	if err != nil {
		return 0 // the server has closed an idle connection
	}
	defer resp.Body.Close()
	var now struct {
		Inbound struct {
			MessageMemory struct {
				Waiting int `json:"waiting"`
			} `json:"message_memory"`
		} `json:"inbound"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&now); err != nil {
		t.Fatal(err)
	}
	return now.Inbound.MessageMemory.Waiting
}

// A crowd of peers that fills the memory for peers' messages, and sends no more or takes nothing, does not
// touch clients' sessions, and is ended when an honest peer needs memory: it waits for no more than a few windows of the
// rates. Promises cost little resident memory. The long form has as many peers as there are sessions.
func TestInboundMemory(t *testing.T) {
	t.Parallel()
	crowd := 40
	if long {
		crowd = 124
	}
	ask := hostile.V2("getdata", make([]byte, 37))
	for _, c := range []struct {
		name   string
		attack func(e *hostile.End)
		// honest has a block sent, and returns when it has arrived.
		honest func(e *hostile.End, n *blockNode) (time.Time, error)
		grows  int64 // at most
	}{
		{"promise", func(e *hostile.End) {
			e.Write(append(e.SealLength(4_000_000), bytes.Repeat([]byte{0x5a}, 64<<10)...))
		}, func(e *hostile.End, n *blockNode) (time.Time, error) {
			if err := e.Send(hostile.V2("block", largeBlock)); err != nil {
				return time.Time{}, err
			}
			return <-n.got, nil
		}, 64 << 20},
		{"do not read", func(e *hostile.End) {
			for range 4 { // the kernel's buffers have room for one, or two
				e.Send(ask)
			}
		}, func(e *hostile.End, _ *blockNode) (time.Time, error) {
			if err := e.Send(ask); err != nil {
				return time.Time{}, err
			}
			got, err := e.Receive()
			if err == nil && !bytes.Equal(got, hostile.V2("block", largeBlock)) {
				err = fmt.Errorf("%d bytes of something else", len(got))
			}
			return time.Now(), err
		}, 64<<20 + 16<<20}, // the memory is full of what has arrived
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			node := startBlockNode(t)
			u := startUnder(t, "--inbound", "127.0.0.1:0="+node.addr, "--inbound-network", "mainnet", "--status", "127.0.0.1:0")
			program := &proxy{program: u.program}
			status := program.await(t, "the status page", func(e event) bool { return e.Msg == "status page" }).Addr
			inbound := program.await(t, "listening for peers", func(e event) bool { return e.Msg == "listening" && e.Inbound }).Addr
			enter := func() *hostile.End {
				<-time.After(12 * time.Millisecond) // 100 a second
				nc, err := hostile.Dial(inbound, 10*patience)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { nc.Close() })
				nc.SetReadBuffer(32 << 10)
				e, err := hostile.Script{}.Shake(nc, true)
				if err == nil {
					err = e.Send(hostile.V2("version", hostile.Version("/peer:1/")))
				}
				if err == nil {
					_, err = e.Receive()
				}
				if err != nil {
					t.Fatal(err)
				}
				return e
			}

			client, peer, _ := openSession(t, u)
			outbound := func() time.Duration {
				began := time.Now()
				go peer.Send(hostile.V2("block", largeBlock))
				if _, got, err := hostile.ReadV1(client); err != nil || !bytes.Equal(got, largeBlock) {
					t.Errorf("the client got %d bytes, %v", len(got), err)
				}
				return time.Since(began)
			}
			var alone, beside []time.Duration
			for range 5 {
				alone = append(alone, outbound())
			}
			good := enter()
			var bad []*hostile.End
			for range crowd {
				bad = append(bad, enter())
			}
			rest := u.memoryUse("VmRSS")
			for _, e := range bad {
				c.attack(e)
			}
			reclaimed := func() int {
				return u.program.out.count("session closed", "too long while others waited for its memory")
			}
			// On a slow machine the first peers are ended before the last ones wait.
			eventually(t, "the memory is used up", func() bool { return waitingForMemory(t, status) > crowd/5 || reclaimed() > 0 })
			var arrived time.Time
			failed := make(chan error)
			began := time.Now()
			go func() {
				var err error
				arrived, err = c.honest(good, node)
				failed <- err
			}()
			most := rest
			for waits := true; waits; {
				if len(beside) < 5 {
					beside = append(beside, outbound())
				}
				most = max(most, u.memoryUse("VmRSS"))
				select {
				case err := <-failed:
					waits = false
					if err != nil {
						t.Fatalf("the honest peer: %v", err)
					}
				case <-time.After(50 * time.Millisecond):
				}
			}
			slices.Sort(alone)
			slices.Sort(beside)
			middle := beside[len(beside)/2]
			// 16 at a time have memory. A window has 2 s.
			limit := time.Duration(crowd/16+2) * 3 * time.Second
			took := arrived.Sub(began)
			t.Logf("a client's block of 4 MB: %v alone, %v beside %d peers; a peer's: %.1f s, limit %v; resident memory grew by %.1f MiB",
				alone[2], middle, crowd, took.Seconds(), limit, float64(most-rest)/(1<<20))
			// The ends of the test share the processors with the crowd; the race detector makes them far slower. A
			// block that waited for memory would take as long as a peer's.
			if raceFlag() == nil && middle > 10*alone[2]+took/2 {
				t.Errorf("a client's block took %v, %v with no peers", middle, alone[2])
			}
			if took > limit {
				t.Errorf("an honest peer's block took %v, want %v at most", took, limit)
			}
			if most-rest > c.grows {
				t.Errorf("resident memory grew by %d bytes", most-rest)
			}
			if n, enough := reclaimed(), crowd/5; n < enough {
				t.Errorf("%d peers were ended for their memory, want %d at least", n, enough)
			}
		})
	}
}
