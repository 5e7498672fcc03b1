package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"bip324proxy/transport"
)

// contender is a proxy that the beside scenarios measure: this one, or another by its command line.
type contender struct {
	name     string
	command  []string // with {listen} or {port} for the address
	redirect bool     // no SOCKS: it dials the address that the client's VERSION names as the receiver's
	log      string   // file with its output
	prog     *program
	node     *node
	opened   int
	failed   []error // sessions that did not open
}

// others are the contenders of the command line.
var others []*contender

// addBeside returns the function for a flag with a contender, as NAME=COMMAND.
func addBeside(redirect bool) func(string) error {
	return func(s string) error {
		name, command, ok := strings.Cut(s, "=")
		if !ok || name == "" || command == "" {
			return fmt.Errorf("%q is invalid; must be NAME=COMMAND", s)
		}
		if !strings.Contains(command, "{listen}") && !strings.Contains(command, "{port}") {
			return fmt.Errorf("%q has neither {listen} nor {port}: the proxy needs an address to listen on", command)
		}
		others = append(others, &contender{name: name, command: shell(command), redirect: redirect})
		return nil
	}
}

// shell returns the arguments that run command. The shell makes way for it, so that the process is the proxy's.
func shell(command string) []string {
	if runtime.GOOS == "windows" {
		return strings.Fields(command)
	}
	return []string{"sh", "-c", "exec " + command}
}

// contenders returns this proxy and the others.
func (b *bench) contenders() []*contender {
	ours := &contender{name: "bip324-proxy", command: []string{b.binary, "--listen", "{listen}"}}
	return append([]*contender{ours}, others...)
}

// start runs the proxy and returns its first session. It makes no other connection: some proxies compute for ever once
// one has closed.
func (c *contender) start(dir string) (s besideSession, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return s, err
	}
	addr := free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(addr)
	log, err := os.CreateTemp(dir, "beside")
	if err != nil {
		return s, err
	}
	defer log.Close()
	c.log = log.Name()
	var args []string
	for _, a := range c.command {
		args = append(args, strings.NewReplacer("{listen}", addr, "{port}", port).Replace(a))
	}
	c.prog = &program{cmd: exec.Command(args[0], args[1:]...), addr: addr}
	c.prog.cmd.Stdout, c.prog.cmd.Stderr = log, log
	if err := c.prog.start(); err != nil {
		return s, err
	}
	if c.node == nil {
		if c.node, err = besideNode(); err != nil {
			return s, err
		}
	}
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if s, err = c.open(); err == nil {
			return s, nil
		}
		if time.Now().After(until) {
			return s, fmt.Errorf("the first session: %w", err)
		}
	}
}

func (c *contender) stop() { c.prog.stop() }

// cpu is program.cpu for a process that may have died.
func (c *contender) cpu() (float64, error) {
	t, err := cpuTime(c.prog.proc.Pid)
	return t.Seconds(), err
}

// besideNode is a v2 node with a VERSION that every proxy can decode.
func besideNode() (*node, error) {
	first := traffic{versionTo("127.0.0.1:8333")}.contents()
	return listen("127.0.0.1", func(conn net.Conn) (end, error) {
		c, err := transport.Server(context.Background(), conn, transport.Config{Magic: magic, First: first})
		if err != nil {
			return nil, err
		}
		e := &v2End{c}
		return e, e.receive(1)
	})
}

// besidePatience is the deadline for opening a session, and for each transfer of one that is open.
const besidePatience = 30 * time.Second

// besideSession is both ends of a session through a contender.
type besideSession struct {
	client *v1End
	peer   end
}

// open opens a session and exchanges VERSIONs.
func (c *contender) open() (s besideSession, err error) {
	defer func() {
		if err != nil && s.client != nil {
			s.client.net().Close()
			c.node, _ = besideNode() // the peer of the failed session may still arrive at the old one
		}
	}()
	var conn net.Conn
	if c.redirect {
		conn, err = net.DialTimeout("tcp", c.prog.addr, besidePatience)
	} else {
		conn, err = path{c.prog, c.node}.dial()
	}
	if err != nil {
		return s, err
	}
	s.client = newV1End(conn, 64<<10)
	conn.SetDeadline(time.Now().Add(besidePatience))
	if err := s.client.send(traffic{versionTo(c.node.addr)}, 1); err != nil {
		return s, err
	}
	if err := s.client.receive(1); err != nil {
		return s, fmt.Errorf("reading the node's VERSION: %w", err)
	}
	select {
	case s.peer = <-c.node.ends:
		s.deadline()
		return s, nil
	case <-time.After(besidePatience):
		return s, errors.New("the node did not receive the client's VERSION")
	}
}

// deadline gives the session besidePatience more.
func (s besideSession) deadline() {
	until := time.Now().Add(besidePatience)
	s.client.net().SetDeadline(until)
	s.peer.net().SetDeadline(until)
}

// close closes both ends. A proxy that would not pass on the client's close is not waited for.
func (s besideSession) close() {
	s.client.net().Close()
	s.peer.net().Close()
}

// versionTo returns a VERSION to the node at addr, an IPv4 address.
func versionTo(addr string) message {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	b := binary.LittleEndian.AppendUint32(nil, 70016)
	b = append(b, make([]byte, 8)...) // services
	b = binary.LittleEndian.AppendUint64(b, uint64(time.Now().Unix()))
	b = append(append(b, make([]byte, 8)...), net.ParseIP(host).To16()...)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	return message{"version", append(b, make([]byte, 26+8+1+4+1)...)} // addr_from, nonce, user agent, height, relay
}

// decodableInv returns an inv of one transaction.
func decodableInv() []byte { return append([]byte{1, 1, 0, 0, 0}, make([]byte, 32)...) }

// decodableBlock returns a block of about size bytes, of transactions with two inputs and two outputs.
func decodableBlock(size int) []byte {
	tx := []byte{2, 0, 0, 0, 2}
	for range 2 {
		tx = append(append(tx, random(1, "", 36)[0].payload...), 107)
		tx = append(append(tx, random(1, "", 107)[0].payload...), 0xff, 0xff, 0xff, 0xff)
	}
	tx = append(tx, 2)
	for range 2 {
		tx = append(append(tx, 1, 0, 0, 0, 0, 0, 0, 0, 25), random(1, "", 25)[0].payload...)
	}
	tx = append(tx, 0, 0, 0, 0)
	n := size / len(tx)
	b := append(make([]byte, 80), 0xfd, byte(n), byte(n>>8))
	for range n {
		b = append(b, tx...)
	}
	return b
}
