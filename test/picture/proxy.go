package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"

	"bip324proxy/socks"
	"bip324proxy/test/hostile"
)

// proxy is a running bip324-proxy with a status page.
type proxy struct {
	cmd            *exec.Cmd
	listen, status string // addresses
}

func startProxy(dir, upstream string) (*proxy, error) {
	binary := filepath.Join(dir, "bip324-proxy")
	if text, err := exec.Command("go", "build", "-o", binary, "bip324proxy").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, text)
	}
	p := &proxy{cmd: exec.Command(binary, "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--upstream", "socks5://"+upstream, "--log-format", "json")}
	out, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	log := bufio.NewScanner(out)
	for (p.listen == "" || p.status == "") && log.Scan() {
		var event struct{ Msg, Addr string }
		json.Unmarshal(log.Bytes(), &event)
		switch event.Msg {
		case "listening":
			p.listen = event.Addr
		case "status page":
			p.status = event.Addr
		}
	}
	if p.listen == "" || p.status == "" {
		p.stop()
		return nil, fmt.Errorf("the proxy ended: %s", log.Text())
	}
	go io.Copy(io.Discard, out)
	return p, nil
}

func (p *proxy) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// serveUpstream runs a SOCKS5 proxy that passes for Tor and reaches the played peers. It returns its address.
func serveUpstream() (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go serve(nc.(*net.TCPConn))
		}
	}()
	return l.Addr().String(), nil
}

func serve(nc *net.TCPConn) {
	defer nc.Close()
	request, err := socks.Config{}.Negotiate(nc, bufio.NewReader(nc))
	if err != nil {
		return
	}
	dest := request.Dest.String()
	switch agent, speaksV2 := agents[dest]; {
	case request.Command == socks.CommandResolve:
		request.ReplyAddr(netip.IPv4Unspecified()) // the proxy finds out whether it talks to Tor
	case speaksV2:
		if request.Reply(socks.Succeeded) == nil {
			hostile.Node(agent)(nc)
		}
	case dest == v1Only:
		if request.Reply(socks.Succeeded) == nil {
			nc.Read(make([]byte, 64))
			nc.CloseWrite()
			io.Copy(io.Discard, nc)
		}
	default:
		request.Reply(socks.ConnectionRefused)
	}
}
