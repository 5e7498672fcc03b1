// Command neutrino is a light client for the tests: an official release of the library neutrino, with one peer, which
// it reaches through a SOCKS5 proxy or, in v2, directly. It is a separate module because neutrino needs an older btcd
// than the node.
//
// neutrino speaks v1 only. At each new tip it prints one line of JSON: the tip, and the filter and the block that it fetched
// from the peer. It exits at the given height.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"bip324proxy/transport/fallback"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/wire"
	"github.com/btcsuite/btcwallet/walletdb"
	_ "github.com/btcsuite/btcwallet/walletdb/bdb"
	"github.com/lightninglabs/neutrino"
	"github.com/lightningnetwork/lnd/tor"
)

// tip is the tip of the client's chain.
type tip struct {
	Height       int32  `json:"height"`
	Hash         string `json:"hash"`
	FilterHeader string `json:"filter_header"`
	Filter       string `json:"filter"` // hex, as the peer sent it
	Block        string `json:"block"`  // hex
}

func main() {
	dir := flag.String("datadir", "", "where to keep the chain")
	proxy := flag.String("proxy", "", "SOCKS5 proxy, HOST:PORT; without it, the client dials the peer with package fallback")
	peer := flag.String("connect", "", "the only peer, HOST:PORT")
	lnd := flag.Bool("lnd", false, "dial and resolve names as lnd does for its neutrino, with Tor's RESOLVE")
	until := flag.Int("until", 0, "the height to end at")
	flag.Parse()
	if err := run(*dir, *proxy, *peer, *lnd, int32(*until)); err != nil {
		log.Fatal(err)
	}
}

func run(dir, proxy, peer string, lnd bool, until int32) error {
	db, err := walletdb.Create("bdb", filepath.Join(dir, "neutrino.db"), true, time.Minute)
	if err != nil {
		return err
	}
	defer db.Close()
	config := neutrino.Config{DataDir: dir, Database: db, ChainParams: chaincfg.RegressionNetParams,
		ConnectPeers: []string{peer}}
	switch {
	case proxy == "":
		var dialer fallback.Dialer
		config.Dialer = func(addr net.Addr) (net.Conn, error) {
			return dialer.DialContext(context.Background(), addr.Network(), addr.String())
		}
	case lnd:
		network := &tor.ProxyNet{SOCKS: proxy, StreamIsolation: true}
		config.Dialer = func(addr net.Addr) (net.Conn, error) {
			return network.Dial(addr.Network(), addr.String(), tor.DefaultConnTimeout)
		}
		config.NameResolver = func(host string) ([]net.IP, error) { return addresses(network.LookupHost(host)) }
	default:
		throughProxy(&config, proxy)
	}
	chain, err := neutrino.NewChainService(config)
	if err != nil {
		return err
	}
	if err := chain.Start(context.Background()); err != nil {
		return err
	}
	return errors.Join(report(chain, until), chain.Stop())
}

// report prints each new tip, up to height until.
func report(chain *neutrino.ChainService, until int32) error {
	out := json.NewEncoder(os.Stdout)
	for last := int32(0); last < until; {
		time.Sleep(10 * time.Millisecond)
		best, err := chain.BestBlock()
		if err != nil {
			return err
		}
		if best.Height == last {
			continue
		}
		header, err := chain.RegFilterHeaders.FetchHeader(&best.Hash)
		if err != nil {
			return err
		}
		filter, err := chain.GetCFilter(best.Hash, wire.GCSFilterRegular)
		if err != nil {
			return fmt.Errorf("filter of %v: %w", best.Hash, err)
		}
		rawFilter, err := filter.NBytes()
		if err != nil {
			return err
		}
		block, err := chain.GetBlock(best.Hash)
		if err != nil {
			return fmt.Errorf("block %v: %w", best.Hash, err)
		}
		var rawBlock bytes.Buffer
		if err := block.MsgBlock().Serialize(&rawBlock); err != nil {
			return err
		}
		last = best.Height
		if err := out.Encode(tip{last, best.Hash.String(), header.String(),
			hex.EncodeToString(rawFilter), hex.EncodeToString(rawBlock.Bytes())}); err != nil {
			return err
		}
	}
	return nil
}

// addresses parses hosts, which must be IP addresses.
func addresses(hosts []string, err error) (ips []net.IP, _ error) {
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		ip := net.ParseIP(host)
		if ip == nil {
			return nil, fmt.Errorf("%q is not a valid address", host)
		}
		ips = append(ips, ip)
	}
	return ips, nil
}
