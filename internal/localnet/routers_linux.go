package localnet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
)

// routers returns the routers in the kernel's routing tables.
func routers() (all []netip.Addr, err error) {
	for _, table := range []struct {
		file   string
		column int // of the router
		parse  func([]byte) netip.Addr
	}{
		{"/proc/net/route", 2, routerV4},
		{"/proc/net/ipv6_route", 4, routerV6},
	} {
		b, err := os.ReadFile(table.file)
		if errors.Is(err, fs.ErrNotExist) { // no such family
			continue
		}
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
			fields := bytes.Fields(lines.Bytes())
			if len(fields) <= table.column {
				continue
			}
			if ip := table.parse(fields[table.column]); ip.IsValid() && !ip.IsUnspecified() {
				all = append(all, ip)
			}
		}
	}
	return all, nil
}

// routerV4 parses an address printed as a number in native byte order.
func routerV4(field []byte) netip.Addr {
	var b [4]byte
	if n, err := hex.Decode(b[:], field[:min(len(field), 8)]); err != nil || n != 4 {
		return netip.Addr{}
	}
	binary.NativeEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:]))
	return netip.AddrFrom4(b)
}

// routerV6 parses an address printed byte by byte.
func routerV6(field []byte) netip.Addr {
	var b [16]byte
	if n, err := hex.Decode(b[:], field[:min(len(field), 32)]); err != nil || n != 16 {
		return netip.Addr{}
	}
	return netip.AddrFrom16(b)
}
