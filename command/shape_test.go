//go:build unix

package command

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bip324proxy/internal/testkit"
	"bip324proxy/transport"
	"bip324proxy/v1v2"
)

var mainnet = transport.Networks[0]

// receivedFiller returns how many bytes of decoys a peer receives that connects to addr with v2 and
// has an answer of the node.
func receivedFiller(t *testing.T, addr string) uint64 {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	v2, err := transport.Client(context.Background(), nc, transport.Config{Magic: mainnet.Magic})
	if err != nil {
		t.Fatal(err)
	}
	if err := v2.WritePacket(v1v2.AppendContents(nil, v1v2.TypeOf("version"), make([]byte, 100))); err != nil {
		t.Fatal(err)
	}
	if _, err := v2.ReadPacket(); err != nil {
		t.Fatal(err)
	}
	err = v2.CloseWrite()
	for err == nil {
		_, err = v2.ReadPacket()
	}
	return v2.Shaping().ReceivedFiller
}

// Each shape is logged with what it costs, at the start and when a reload changes it; a listener's
// is in force there. A reload drops none that it does not mention, and warns of those that it
// removes.
func TestShapesAreLogged(t *testing.T) {
	node := testkit.Serve(t, func(nc net.Conn) {
		nc.Write(testkit.V1Message(mainnet.Magic, "verack", nil))
		io.Copy(io.Discard, nc)
	})
	listeners := fmt.Sprintf("listen = [\"127.0.0.1:0\"]\ninbound = [\"localhost:0=%s\"]\ninbound-network = \"mainnet\"\n", node)
	file := testkit.WriteFile(t, listeners+"shape = [\"cover,every=4s\", \"localhost:0=tunnel\"]\n")
	p := startProgram(t, "--config", file)
	clients := p.next(t, "listening")["addr"]
	peers := p.next(t, "listening")["addr"].(string)
	want := func(msg, shape, listener, cost string) {
		t.Helper()
		line := p.await(t, msg)
		if line["shape"] != shape || line["cost"] != cost || listener == "" && line["listener"] != nil || listener != "" && line["listener"] != listener {
			t.Errorf("the log says %v", line)
		}
	}
	want("traffic shaping", "cover,every=4s", "", "up to 22 MB a day for each connection")
	perDay := float64(transport.Shape{Mode: transport.ShapeTunnel}.FillerPerDay()) / 1e6
	want("traffic shaping", "tunnel", "localhost:0", fmt.Sprintf("up to %.0f MB a day for each connection, each way, for peers that ask for it", perDay))
	if n := receivedFiller(t, peers); n != 0 {
		t.Errorf("%d bytes of filler for a peer that does not ask for a tunnel", n)
	}

	if line := p.hangUp(t, file, listeners+"shape = \"localhost:0=pad\"\n"); line["changed"] != "shape" {
		t.Errorf("the log says %v", line)
	}
	want("traffic shaping", "pad", "localhost:0", "depends on the traffic: at least 1024 bytes for each write, 1.9 MB a day for a light client")
	if line := p.await(t, "traffic shaping removed"); line["level"] != "WARN" || line["listeners"] != clients {
		t.Errorf("the log says %v", line)
	}
	if n := receivedFiller(t, peers); n == 0 {
		t.Error("no filler, want the shape of the reload")
	}

	if line := p.hangUp(t, file, listeners); line["level"] != "ERROR" || line["err"] != `no longer set: shape; set it again, or to drop this protection write shape = ""` {
		t.Errorf("the log says %v", line)
	}
	if line := p.hangUp(t, file, listeners+"shape = \"\"\n"); line["changed"] != "shape" {
		t.Errorf("the log says %v", line)
	}
	if line := p.await(t, "traffic shaping"); line["msg"] != "traffic shaping removed: new sessions show the sizes and times of messages" || line["listeners"] != peers {
		t.Errorf("the log says %v", line)
	}
	if n := receivedFiller(t, peers); n != 0 {
		t.Errorf("%d bytes of filler without a shape", n)
	}
	p.stop(t)
}

// Less than 10 MB a day has a decimal.
func TestSmallCost(t *testing.T) {
	shape, err := transport.ParseShape("cover,cell=256,every=1m")
	if got := costOf(shape, false); err != nil || len(got) != 2 || got[1] != "up to 0.4 MB a day for each connection" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, free := range []string{"off", "core"} {
		if shape, err := transport.ParseShape(free); err != nil || costOf(shape, false) != nil {
			t.Errorf("%s costs %v, %v", free, costOf(shape, false), err)
		}
	}
}

// A budget that is smaller than a day's cells is said to be.
func TestShortBudget(t *testing.T) {
	for text, want := range map[string]string{
		"cover,every=500ms":    "up to 105 MB a day for each connection; the budget lasts about 14.2 hours, then the rest of the day is only padded",
		"tunnel,fakes=off":     "up to 88 MB a day for each connection, each way",
		"cover,cell=16384":     "up to 105 MB a day for each connection; the budget lasts about 3.6 hours, then the rest of the day is only padded",
		"cover,budget=10":      "up to 10 MB a day for each connection; the budget lasts about 5.7 hours, then the rest of the day is only padded",
		"tunnel,budget=100000": "up to 99 MB a day for each connection, each way",
	} {
		shape, err := transport.ParseShape(text)
		if got := shapeCost(shape, false); err != nil || got != want {
			t.Errorf("%s costs %q, %v, want %q", text, got, err, want)
		}
	}
}

// check has a line for each shape that is set, with what the start says of its cost.
func TestCheckShapes(t *testing.T) {
	at := testkit.Nobody(t)
	_, stdout, stderr := runProgram("check", "--listen", "127.0.0.1:0", "--inbound", at+"="+testkit.Nobody(t), "--inbound-network", "regtest", "--shape", "cover", "--shape", at+"=tunnel,fakes=off")
	stdout = strings.Join(strings.Fields(stdout), " ")
	for _, want := range []string{
		"ok shape clients' sessions: cover; cost: up to 44 MB a day for each connection -> ",
		"ok shape " + at + ": tunnel,fakes=off; cost: up to 88 MB a day for each connection, each way, for peers that ask for it -> ",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s%s", want, stdout, stderr)
		}
	}
	if _, stdout, _ := runProgram("check", "--listen", "127.0.0.1:0"); strings.Contains(stdout, "shape") {
		t.Errorf("without --shape: got\n%s", stdout)
	}
}
