package netns

import (
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	// redirectPort is where TCP connections arrive. Only a command that runs as root could take it.
	redirectPort = 1
	dnsPort      = 53
)

// redirect redirects TCP connections to redirectPort of loopback: those to port 53, and those to
// any address but loopback and the namespace's own.
func redirect() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "bip324-proxy"})
	chain := conn.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	rule := func(exprs ...expr.Any) {
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	}
	is := func(key expr.MetaKey, value byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: []byte{value}}}
	}
	tcp := is(expr.MetaKeyL4PROTO, unix.IPPROTO_TCP)
	toProxy := []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(redirectPort)},
		&expr.Redir{RegisterProtoMin: 1},
	}
	toDNS := []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: binaryutil.BigEndian.PutUint16(dnsPort)},
	}
	rule(slices.Concat(tcp, toDNS, toProxy)...)
	for _, own := range []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.PrefixFrom(Addr, 32), netip.MustParsePrefix("::1/128"), netip.PrefixFrom(Addr6, 128),
	} {
		dest, size := own.Addr().AsSlice(), own.Addr().BitLen()/8
		family, offset := byte(unix.NFPROTO_IPV4), 16
		if size == net.IPv6len {
			family, offset = unix.NFPROTO_IPV6, 24
		}
		rule(append(is(expr.MetaKeyNFPROTO, family),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: uint32(offset), Len: uint32(size)},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: net.CIDRMask(own.Bits(), 8*size), Xor: make([]byte, size)},
			&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: dest},
			&expr.Verdict{Kind: expr.VerdictAccept})...)
	}
	rule(slices.Concat(tcp, toProxy)...)
	return conn.Flush()
}
