package main

import (
	"net"
	"time"

	"github.com/btcsuite/btcd/connmgr"
	"github.com/btcsuite/go-socks/socks"
	"github.com/lightninglabs/neutrino"
)

// throughProxy makes neutrino connect and resolve names only through the SOCKS5 proxy at addr, such as 127.0.0.1:1324.
func throughProxy(config *neutrino.Config, addr string) {
	config.Dialer = func(peer net.Addr) (net.Conn, error) {
		proxy := &socks.Proxy{Addr: addr}
		return proxy.DialTimeout(peer.Network(), peer.String(), 30*time.Second)
	}
	config.NameResolver = func(host string) ([]net.IP, error) {
		return connmgr.TorLookupIP(host, addr)
	}
}
