package test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// electrumServer serves the part of Electrum's protocol that a client without a wallet needs, JSON-RPC with one message
// a line, from the chain of a node.
type electrumServer struct {
	addr string
	node *node
}

// startElectrumServer serves until the test ends, over TLS with a self-signed certificate if secure is set.
func startElectrumServer(t *testing.T, node *node, secure bool) *electrumServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &electrumServer{addr: l.Addr().String(), node: node}
	if secure {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	}
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed at the end of the test
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			serving.Go(func() {
				defer conn.Close()
				s.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return s
}

// serve answers one client until it hangs up.
func (s *electrumServer) serve(conn net.Conn) {
	out := json.NewEncoder(conn)
	for in := bufio.NewScanner(conn); in.Scan(); {
		var request struct {
			ID     any    `json:"id"`
			Method string `json:"method"`
			Params []any  `json:"params"`
		}
		if err := json.Unmarshal(in.Bytes(), &request); err != nil {
			return // not Electrum
		}
		answer := map[string]any{"jsonrpc": "2.0", "id": request.ID}
		if result, err := s.answer(request.Method, request.Params); err == nil {
			answer["result"] = result
		} else {
			answer["error"] = map[string]any{"code": -32601, "message": err.Error()}
		}
		if out.Encode(answer) != nil {
			return
		}
	}
}

// answer returns a server's answer in Electrum's protocol 1.4.
func (s *electrumServer) answer(method string, params []any) (any, error) {
	switch method {
	case "server.version":
		return []string{"test", "1.4"}, nil
	case "server.features": // since 4.7 Electrum asks for the chain
		var genesis string
		err := s.node.call(&genesis, "getblockhash", 0)
		return map[string]any{"genesis_hash": genesis}, err
	case "server.ping":
		return nil, nil
	case "server.banner", "server.donation_address":
		return "", nil
	case "server.peers.subscribe", "mempool.get_fee_histogram":
		return []any{}, nil
	case "blockchain.relayfee", "blockchain.estimatefee":
		return 0.00001, nil
	case "blockchain.block.header":
		return s.header(int(params[0].(float64)))
	case "blockchain.block.headers":
		first, count := int(params[0].(float64)), int(params[1].(float64))
		headers := ""
		for height := first; height < first+count; height++ {
			header, err := s.header(height)
			if err != nil {
				return nil, err
			}
			headers += header
		}
		return map[string]any{"count": count, "hex": headers, "max": 2016}, nil
	case "blockchain.headers.subscribe":
		var height int
		if err := s.node.call(&height, "getblockcount"); err != nil {
			return nil, err
		}
		header, err := s.header(height)
		return map[string]any{"height": height, "hex": header}, err
	}
	return nil, errNoSuchMethod(method)
}

type errNoSuchMethod string

func (method errNoSuchMethod) Error() string { return "unknown method " + string(method) }

// header returns the block header at a height, in hex.
func (s *electrumServer) header(height int) (header string, err error) {
	var hash string
	if err := s.node.call(&hash, "getblockhash", height); err != nil {
		return "", err
	}
	return header, s.node.call(&header, "getblockheader", hash, false)
}

// selfSigned makes a self-signed certificate, as most Electrum servers use.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "electrum.test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
}
