package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// kinds are the programs that the library scenario compares, in the order of its table.
var kinds = []string{bareV1, withConn, viaProxy, withBtcd}

// participant is a client process and the end that it talks to.
type participant struct {
	*program
	kind   string
	orders *json.Encoder
	answer *json.Decoder
	proxy  *program // that works for it; or nil
	node   *node
	peer   end
}

// cpu returns the CPU time of all that works for the program.
func (p *participant) cpu() (total, proxy float64) {
	if p.proxy != nil {
		proxy = p.proxy.cpu()
	}
	return p.program.cpu() + proxy, proxy
}

func (b *bench) participant(kind string, node *node) (*participant, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &participant{kind: kind, node: node}
	switch kind {
	case bareV1:
		p.node = b.v1
	case viaProxy:
		p.proxy = b.proxy
	}
	line := []string{self, clientCommand, kind, p.node.addr, b.proxy.addr}
	if fence := fences[kind]; fence != "" {
		line = b.underRun(fence, line...)
	}
	p.program = &program{cmd: exec.Command(line[0], line[1:]...)}
	if fences[kind] != "" {
		p.proxy = p.program
	}
	p.cmd.Stderr = os.Stderr
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.start()); err != nil {
		return nil, err
	}
	p.orders, p.answer = json.NewEncoder(in), json.NewDecoder(out)
	if _, err := p.do("open", "", 1); err != nil {
		return p, err
	}
	p.peer = <-p.node.ends
	return p, nil
}

// do has the client follow an order.
func (p *participant) do(what, load string, n int) (a answer, err error) {
	if err := p.orders.Encode(order{what, load, n}); err != nil {
		return a, err
	}
	if err := p.answer.Decode(&a); err != nil {
		return a, fmt.Errorf("the program with %s has ended: %w", p.kind, err)
	}
	if a.Err != "" {
		err = fmt.Errorf("the program with %s: %s", p.kind, a.Err)
	}
	return a, err
}

// comparison is a row of the library's table.
type comparison struct {
	what, unit string
	order      string
	load       string
	n          int     // times the load in a round
	scale      float64 // from seconds per message to unit
	node       func(e end, t traffic, n int) error

	cpu           map[string][]float64 // per message, of each round
	proxy         []float64            // likewise, the proxy alone
	allocs, bytes map[string]float64   // per message
}

func (e *comparison) messages() int { return e.n * max(1, len(loadsByName[e.load])) }

// round measures once.
func (e *comparison) round(p *participant) error {
	t := loadsByName[e.load]
	before, proxyBefore := p.cpu()
	done := make(chan error, 1)
	go func() { done <- e.node(p.peer, t, e.n) }()
	a, err := p.do(e.order, e.load, e.n)
	if err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	after, proxyAfter := p.cpu()
	n := float64(e.messages())
	e.cpu[p.kind] = append(e.cpu[p.kind], (after-before)/n)
	if p.proxy != nil {
		e.proxy = append(e.proxy, (proxyAfter-proxyBefore)/n)
	}
	e.allocs[p.kind], e.bytes[p.kind] = float64(a.Allocs)/n, float64(a.Bytes)/n
	return nil
}

func mean(all []float64) (m float64) {
	for _, x := range all {
		m += x / float64(len(all))
	}
	return m
}

// library compares programs that use v1v2.Conn with others.
func (b *bench) library() (rows []row, err error) {
	var all []*participant
	defer func() {
		for _, p := range all {
			p.stop()
		}
	}()
	for _, kind := range kinds {
		p, err := b.participant(kind, b.v2)
		if p != nil {
			all = append(all, p)
		}
		if err != nil {
			return nil, err
		}
	}
	feed := func(e end, t traffic, n int) error { return e.send(t, n) }
	take := func(e end, t traffic, n int) error { return e.receive(n * len(t)) }
	play := func(e end, t traffic, n int) error {
		for range n {
			if err := errors.Join(e.send(t, 1), e.receive(1)); err != nil {
				return err
			}
		}
		return nil
	}
	table := []*comparison{
		{what: "a block of 1.5 MB, received", unit: "CPU ms", order: "receive", load: "blocks", n: 80, scale: 1e3, node: feed},
		{what: "a block of 1.5 MB, sent", unit: "CPU ms", order: "send", load: "blocks", n: 80, scale: 1e3, node: take},
		{what: "an inv of 37 bytes of many, received", unit: "CPU µs", order: "receive", load: "invs", n: 200, scale: 1e6, node: feed},
		{what: "an inv of 37 bytes of many, sent", unit: "CPU µs", order: "send", load: "invs", n: 200, scale: 1e6, node: take},
		{what: "a ping, answered", unit: "CPU µs", order: "answer", load: "ping", n: 10_000, scale: 1e6, node: play},
	}
	alone := []*comparison{
		{what: "Conn.Read, blocks of 1.5 MB", order: "read", load: "blocks", n: 80, node: feed},
		{what: "Conn.Write, blocks of 1.5 MB", order: "write", load: "blocks", n: 80, node: take},
		{what: "Conn.Read, inv of 37 bytes", order: "read", load: "invs", n: 200, node: feed},
		{what: "Conn.Write, inv of 37 bytes", order: "write", load: "invs", n: 60, node: take},
	}
	for _, e := range slices.Concat(table, alone) {
		if e.n = b.size(e.n); e.load == "ping" {
			e.n = max(e.n, 2)
		}
		if err := e.measure(all, b.rounds); err != nil {
			return nil, fmt.Errorf("%s: %w", e.what, err)
		}
	}
	for i, e := range alone {
		r := row{what: e.what, unit: "CPU µs/message", got: once(mean(e.cpu[withConn]) * 1e6), limit: []part{{"the proxy's process", once(mean(e.proxy) * 1e6)}}}
		if i < 2 {
			r.target = 1.03
		}
		rows = append(rows, r)
	}
	connects, err := b.libraryConnects(all)
	if err != nil {
		return nil, err
	}
	idle, err := b.libraryIdle(all)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\n| a program and | %s |\n|---|---|---|---|---|\n", strings.Join([]string{"a bare `net.Conn`, in v1", "a `v1v2.Conn`", "the proxy and a `net.Conn`", "btcd's v2transport"}, " | "))
	for _, e := range table {
		e.print(&out)
	}
	out.WriteString(connects + idle)
	b.after += out.String()
	return rows, nil
}

// measure runs the programs alternately.
func (e *comparison) measure(all []*participant, rounds int) error {
	for round := range rounds + 1 {
		if round <= 1 { // the first one warms up
			e.cpu, e.proxy = map[string][]float64{}, nil
			e.allocs, e.bytes = map[string]float64{}, map[string]float64{}
		}
		for _, p := range all {
			if err := e.round(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *comparison) print(w io.Writer) {
	cpu, mem := "", ""
	for _, kind := range kinds {
		cpu += " | " + figure(mean(e.cpu[kind])*e.scale)
		mem += fmt.Sprintf(" | %s, %s", figure(rounded(e.allocs[kind])), figure(rounded(e.bytes[kind])))
	}
	fmt.Fprintf(w, "| %s, %s%s |\n| allocations, bytes%s |\n", e.what, e.unit, cpu, mem)
}

// rounded drops what less than every other message costs: rekeying, and the runtime's own.
func rounded(perMessage float64) float64 { return float64(int(perMessage + 0.5)) }

// libraryConnects measures connections that are closed after the exchange of VERSIONs.
func (b *bench) libraryConnects(all []*participant) (string, error) {
	n := b.size(2_000)
	cpu := map[string][]float64{}
	for range b.rounds {
		for _, p := range all {
			before, _ := p.cpu()
			done := make(chan struct{})
			go func() {
				for range n {
					e := <-p.node.ends
					e.receive(1) // until the peer sees the close
					e.net().Close()
				}
				close(done)
			}()
			if _, err := p.do("connect", "", n); err != nil {
				return "", err
			}
			<-done
			after, _ := p.cpu()
			cpu[p.kind] = append(cpu[p.kind], (after-before)/float64(n))
		}
	}
	line := "| a connection with its handshake, CPU µs"
	for _, kind := range kinds {
		line += " | " + figure(mean(cpu[kind])*1e6)
	}
	return line + " |\n", nil
}

// libraryIdle measures connections whose program waits for a message, after a garbage collection of the program.
func (b *bench) libraryIdle(all []*participant) (string, error) {
	n := min(b.size(3_000), (b.descriptors-200)/4)
	line := "| an idle connection, resident KiB"
	for _, p := range all {
		if p.proxy != nil {
			line += " | " // see the proxy's idle sessions
			continue
		}
		if _, err := p.do("wait", "", 0); err != nil {
			return "", err
		}
		before := p.resident()
		if _, err := p.do("wait", "", n); err != nil {
			return "", err
		}
		time.Sleep(time.Second)
		line += " | " + figure((p.resident()-before)/float64(n)/(1<<10))
		for range n {
			(<-p.node.ends).net().Close()
		}
	}
	return line + " |\n", nil
}
