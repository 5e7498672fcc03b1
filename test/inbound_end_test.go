package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"bip324proxy/test/hostile"
)

// Hundreds of peers, or ten thousand, come and go in different ways, and leave no descriptor and no goroutine.
func TestInboundChurn(t *testing.T) {
	t.Parallel()
	b := startLobby(t)
	times := 500
	if long {
		times = 10_000
	}
	ends := []cut{cutReset, cutClose, cutHalf}
	each(times, 8, func(i int) {
		nc := b.call(t)
		defer nc.Close()
		first := message{"version", hostile.Version(fmt.Sprintf("/peer:%d/", i))}
		e, err := hostile.Script{Garbage: junk[:i%4096]}.Shake(nc, true)
		if err == nil {
			err = e.Send(hostile.V2(first.name, first.payload))
		}
		if err == nil {
			_, err = e.Receive()
		}
		if err != nil {
			t.Errorf("peer %d: %v", i, err)
			return
		}
		for _, m := range numbered(i % 10) {
			e.Send(hostile.V2(m.name, m.payload))
		}
		ends[i%len(ends)].do(nc.TCPConn)
		nc.Close()
		b.received(t, first)
	})
	if n := b.visits(); n != times {
		t.Errorf("the node had %d connections, want %d", n, times)
	}
	b.requireFreed(t)
}

// SIGTERM cuts no message: a block that is on its way arrives whole, in both directions, although each end goes on
// sending, and nothing follows it but whole messages.
func TestInboundSIGTERMCutsNoMessage(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not run: Windows has no SIGTERM")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := startInbound(t, l.Addr().String(), "--inbound-network", "mainnet", "--grace", "0")
	peer, err := hostile.Dial(p.inbound, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	e, err := hostile.Script{}.Shake(peer, true)
	if err != nil {
		t.Fatal(err)
	}
	e.Send(hostile.V2(version.name, version.payload))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	node := conn.(*net.TCPConn)
	defer node.Close()
	if name, _, err := hostile.ReadV1(node); name != "version" || err != nil {
		t.Fatalf("the node got %q, %v", name, err)
	}

	// Both write without an end, a block each time; neither reads before the signal, so one is on its way each way.
	go func() {
		for e.Send(hostile.V2(block.name, block.payload)) == nil {
		}
	}()
	go func() {
		for {
			if _, err := node.Write(hostile.V1(block.name, block.payload)); err != nil {
				return
			}
		}
	}()
	first := make([]byte, 1)
	if _, err := io.ReadFull(node, first); err != nil {
		t.Fatal(err)
	}
	e.Wait()
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.await(t, "the shutdown", func(e event) bool { return strings.HasPrefix(e.Msg, "shutting down") })

	toPeer := make(chan error, 1)
	go func() {
		for blocks := 0; ; blocks++ {
			contents, err := e.Receive()
			if err != nil {
				if err == io.EOF && blocks == 0 {
					err = io.ErrUnexpectedEOF
				}
				toPeer <- err
				return
			}
			if !bytes.Equal(contents, hostile.V2(block.name, block.payload)) {
				t.Errorf("the peer got %d bytes", len(contents))
			}
		}
	}()
	toNode, end := readAll(io.MultiReader(bytes.NewReader(first), node))
	if len(toNode) == 0 || end != io.EOF {
		t.Errorf("the node got %d whole blocks, then %v", len(toNode), end)
	}
	if err := <-toPeer; err != io.EOF {
		t.Errorf("the peer got whole blocks, then %v", err)
	}
	<-p.done
	if !p.cmd.ProcessState.Success() {
		t.Errorf("got %v, want exit code 0", p.cmd.ProcessState)
	}
}
