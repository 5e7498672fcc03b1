package status

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ParseHost parses a host's name or address for Server.Hosts.
func ParseHost(text string) (string, error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil && ip.Zone() == "" {
		return ip.String(), nil
	}
	host := strings.TrimSuffix(text, ".")
	labels := strings.Split(host, ".")
	invalid := slices.ContainsFunc(labels, func(label string) bool { return !isLabel(label) })
	// Browsers take a name that ends in a number for an address.
	if invalid || len(host) > 253 || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", fmt.Errorf("%q is not a valid host; write a name, such as bip324-proxy or status.example, or an address, without port and without *", text)
	}
	return host, nil
}

// isLabel reports whether text is a valid label of a name. Container names may have underscores.
func isLabel(text string) bool {
	return text != "" && len(text) <= 63 && !strings.ContainsFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && !('0' <= r && r <= '9') && r != '-' && r != '_'
	})
}
