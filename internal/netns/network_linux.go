package netns

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// setUpLoopback brings loopback up, and makes every address the namespace's.
func setUpLoopback() error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	index := binary.NativeEndian.AppendUint32(nil, uint32(lo.Index))
	up := binary.NativeEndian.AppendUint32(nil, unix.IFF_UP)
	link := append([]byte{unix.AF_UNSPEC, 0, 0, 0}, index...)
	link = append(append(link, up...), up...)
	err = execute(conn, unix.RTM_NEWLINK, 0, link)
	if err != nil {
		return err
	}
	address := append([]byte{unix.AF_INET, 32, 0, unix.RT_SCOPE_UNIVERSE}, index...)
	address = append(address, attribute(unix.IFA_LOCAL, Addr.AsSlice())...)
	if err := execute(conn, unix.RTM_NEWADDR, netlink.Create, address); err != nil {
		return err
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		route := []byte{family, 0, 0, 0, unix.RT_TABLE_LOCAL, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0}
		route = append(route, attribute(unix.RTA_OIF, index)...)
		err := execute(conn, unix.RTM_NEWROUTE, netlink.Create, route)
		if err != nil && !(family == unix.AF_INET6 && errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func execute(conn *netlink.Conn, kind netlink.HeaderType, flags netlink.HeaderFlags, data []byte) error {
	_, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: kind, Flags: flags | netlink.Request | netlink.Acknowledge}, Data: data})
	return err
}

func attribute(kind uint16, data []byte) []byte {
	b, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: kind, Data: data}})
	if err != nil {
		panic(err) // it is too long
	}
	return b
}

// redirect redirects TCP connections, except to loopback and Addr but for their port 53, to a
// port of loopback.
func redirect(port uint16) error {
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
	// exempt accepts a destination as it is; mask says which bits of it count.
	exempt := func(family byte, offset uint32, dest, mask []byte) {
		size := uint32(len(dest))
		rule(append(is(expr.MetaKeyNFPROTO, family),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
			&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: dest},
			&expr.Verdict{Kind: expr.VerdictAccept})...)
	}
	toPort := []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1},
	}
	dns := []expr.Any{ // by TCP, of resolvers that ask Addr, too
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: binaryutil.BigEndian.PutUint16(53)},
	}
	rule(slices.Concat(is(expr.MetaKeyL4PROTO, unix.IPPROTO_TCP), dns, toPort)...)
	exempt(unix.NFPROTO_IPV4, 16, []byte{127, 0, 0, 0}, net.CIDRMask(8, 32))
	exempt(unix.NFPROTO_IPV4, 16, Addr.AsSlice(), net.CIDRMask(32, 32))
	exempt(unix.NFPROTO_IPV6, 24, net.IPv6loopback, net.CIDRMask(128, 128))
	rule(append(is(expr.MetaKeyL4PROTO, unix.IPPROTO_TCP), toPort...)...)
	return conn.Flush()
}
