package dial

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The sockets of the programs that resolve names in .local, and the configuration of the
// system's C library for names. A program without that library, as in the packages, has to
// query these programs itself.
var (
	resolvedSocket = "/run/systemd/resolve/io.systemd.Resolve"
	avahiSocket    = "/run/avahi-daemon/socket"
	nsswitch       = "/etc/nsswitch.conf"
)

const (
	askTimeout = 8 * time.Second // an mDNS query without an answer takes five
	maxAnswer  = 64 * 1024       // bytes
)

var errNoAddress = errors.New("no address")

// lookupMulticast resolves name, which is in .local.
func lookupMulticast(ctx context.Context, name string) ([]netip.Addr, error) {
	if ips, err := askResolved(ctx, name); err == nil {
		return ips, nil
	}
	if ips, err := askAvahi(ctx, name); err == nil {
		return ips, nil
	}
	switch {
	case ctx.Err() != nil:
		return nil, &net.DNSError{Err: "no answer in time", Name: name, IsTimeout: true, UnwrapErr: ctx.Err()}
	case runtime.GOOS == "darwin", runtime.GOOS == "windows", hasLibrary && nssHas(isOtherSource):
		return bothFamilies(ctx, net.DefaultResolver, name) // which knows mDNS, or more
	}
	return nil, &net.DNSError{Err: "no such host: " + ErrMulticastName.Error(), Name: name, IsNotFound: true, UnwrapErr: ErrMulticastName}
}

// nssHas reports whether one of the sources for hosts in nsswitch.conf(5) matches.
func nssHas(matches func(source string) bool) bool {
	b, err := os.ReadFile(nsswitch)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if sources, ok := strings.CutPrefix(strings.TrimSpace(line), "hosts:"); ok {
			return slices.ContainsFunc(strings.Fields(sources), func(s string) bool { return isSource(s) && matches(s) })
		}
	}
	return false
}

// isOtherSource reports whether a source may know names in .local, and has not been queried
// yet.
func isOtherSource(source string) bool {
	return source != "files" && source != "dns" && source != "resolve" && source != "myhostname" && !strings.HasPrefix(source, "mdns")
}

// isSource reports whether word is a source, not an action such as [NOTFOUND=return].
func isSource(word string) bool { return !strings.ContainsAny(word, "[]=") }

// askResolved queries systemd-resolved through Varlink: JSON messages, each with a zero byte
// at its end.
func askResolved(ctx context.Context, name string) ([]netip.Addr, error) {
	type parameters struct {
		Name string `json:"name"`
	}
	question, err := json.Marshal(struct {
		Method     string     `json:"method"`
		Parameters parameters `json:"parameters"`
	}{"io.systemd.Resolve.ResolveHostname", parameters{name}})
	if err != nil {
		return nil, err
	}
	answer, err := converse(ctx, resolvedSocket, append(question, 0), 0)
	if err != nil {
		return nil, err
	}
	return resolvedAddresses(answer)
}

// resolvedAddresses parses systemd-resolved's answer.
func resolvedAddresses(answer []byte) ([]netip.Addr, error) {
	var reply struct {
		Error      string `json:"error"`
		Parameters struct {
			Addresses []struct {
				Interface int    `json:"ifindex"`
				Address   []byte `json:"address"`
			} `json:"addresses"`
		} `json:"parameters"`
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return nil, fmt.Errorf("systemd-resolved: %w", err)
	}
	if reply.Error != "" {
		return nil, fmt.Errorf("systemd-resolved: %s", reply.Error)
	}
	var ips []netip.Addr
	for _, each := range reply.Parameters.Addresses {
		if ip, ok := netip.AddrFromSlice(each.Address); ok {
			ips = append(ips, zoned(ip, each.Interface))
		}
	}
	return sixFirst(ips)
}

// askAvahi queries the Avahi daemon like nss-mdns, for both families at once.
func askAvahi(ctx context.Context, name string) ([]netip.Addr, error) {
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, errNoAddress
	}
	families := []string{"IPV6", "IPV4"}
	found := make(chan netip.Addr, len(families))
	for _, family := range families {
		go func() {
			answer, _ := converse(ctx, avahiSocket, []byte("RESOLVE-HOSTNAME-"+family+" "+name+"\n"), '\n')
			found <- avahiAddress(string(answer))
		}()
	}
	var ips []netip.Addr
	for range families {
		if ip := <-found; ip.IsValid() {
			ips = append(ips, ip)
		}
	}
	return sixFirst(ips)
}

// avahiAddress parses "+ INTERFACE PROTOCOL NAME ADDRESS".
func avahiAddress(answer string) netip.Addr {
	words := strings.Fields(answer)
	if len(words) != 5 || words[0] != "+" {
		return netip.Addr{}
	}
	ip, _ := netip.ParseAddr(words[4])
	i, _ := strconv.Atoi(words[1])
	return zoned(ip.WithZone(""), i)
}

// zoned adds the interface to a link-local address.
func zoned(ip netip.Addr, i int) netip.Addr {
	ip = ip.Unmap()
	if !ip.Is6() || !ip.IsLinkLocalUnicast() || i <= 0 {
		return ip
	}
	if on, err := net.InterfaceByIndex(i); err == nil {
		return ip.WithZone(on.Name)
	}
	return ip.WithZone(strconv.Itoa(i))
}

// sixFirst sorts ips by family. If there are none it returns errNoAddress.
func sixFirst(ips []netip.Addr) ([]netip.Addr, error) {
	if len(ips) == 0 {
		return nil, errNoAddress
	}
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return b.BitLen() - a.BitLen() })
	return ips, nil
}

// converse sends question to the unix socket at path and returns the answer up to the byte
// end, at most maxAnswer bytes.
func converse(ctx context.Context, path string, question []byte, end byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(question); err != nil {
		return nil, err
	}
	answer, err := bufio.NewReader(io.LimitReader(conn, maxAnswer)).ReadBytes(end)
	if err != nil {
		return nil, err
	}
	return answer[:len(answer)-1], nil
}
