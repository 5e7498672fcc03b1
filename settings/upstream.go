package settings

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"bip324proxy/proxy"
	"bip324proxy/rules"
	"bip324proxy/socks"
)

const maxUpstreams = 100 // each connection compares its destination with all

// nextUpstream matches what separates two values of --upstream: a URL may have a comma, too.
var nextUpstream = regexp.MustCompile(`,\s*([^,@/]*=)?[A-Za-z0-9+.-]*://`)

// splitUpstreams splits text at the commas before a [PATTERN=]URL.
func splitUpstreams(text string) (all []string) {
	for {
		next := nextUpstream.FindStringIndex(text)
		if next == nil {
			return append(all, strings.TrimSpace(text))
		}
		all = append(all, strings.TrimSpace(text[:next[0]]))
		text = text[next[0]+1:]
	}
}

// checkUpstreams makes the policy's upstream proxies.
func (s *Settings) checkUpstreams() error {
	p := &s.Policy
	p.Dialer.DialTimeout = s.ConnectTimeout
	if len(s.upstream) > maxUpstreams {
		return s.Invalid("upstream", fmt.Errorf("%d are too many; must be at most %d", len(s.upstream), maxUpstreams))
	}
	routes, err := parseAll(s.upstream, parseUpstream)
	if err != nil {
		return s.Invalid("upstream", err)
	}
	for i := range routes {
		r := &routes[i]
		for j := range routes[:i] {
			if before := routes[j].To; before.Covers(r.To) {
				return s.Invalid("upstream", neverMatches(r.To, before))
			}
		}
		r.Upstream.ConnectTimeout = s.ConnectTimeout
		if p.Socks.Auth != nil { // clients' credentials are this proxy's, so they separate no streams there
			r.Upstream.Mark = processMark()
		}
	}
	if last := len(routes) - 1; last >= 0 && rules.Any.Covers(routes[last].To) && routes[last].To.Covers(rules.Any) {
		p.Upstream, routes = routes[last].Upstream, routes[:last]
	}
	p.Routes = routes
	return nil
}

// neverMatches returns the error about a pattern after another that covers it.
func neverMatches(pattern, before rules.Rule) error {
	if pattern.Covers(before) {
		return fmt.Errorf("the pattern %s is given twice; remove one (a URL without a pattern is *=URL)", pattern)
	}
	return fmt.Errorf("the pattern %s never matches, because %s before it matches all of it; put %s first", pattern, before, pattern)
}

// parseUpstream parses [PATTERN=]URL. Like socks.ParseUpstream's, the error has no part of the URL.
func parseUpstream(text string) (r proxy.Route, err error) {
	pattern, url := splitUpstream(text)
	r.To = rules.Any
	if pattern != "" {
		if r.To, err = parseRule(pattern); err != nil {
			return r, err
		}
	}
	r.Upstream, err = socks.ParseUpstream(url)
	before, _, _ := strings.Cut(url, "://")
	switch {
	case err == nil:
	case pattern != "":
		err = fmt.Errorf("%s: %w", pattern, err)
	case strings.Contains(before, "*"):
		err = errors.New("not PATTERN=URL; write *.onion=socks5://127.0.0.1:9050")
	}
	return r, err
}

// splitUpstream returns the parts of [PATTERN=]URL; a URL may have a =, too. What looks like a
// part of a URL is not taken as a pattern, because errors show patterns, but not passwords.
func splitUpstream(text string) (pattern, url string) {
	before, after, _ := strings.Cut(text, "=")
	if before == "" || strings.Contains(before, "@") || strings.HasPrefix(strings.ToLower(before), "socks5") || !hasScheme.MatchString(after) {
		return "", text
	}
	return before, after
}

var hasScheme = regexp.MustCompile(`^[A-Za-z0-9+.-]*://`)

// HasUpstreamCredentials reports whether the URL of an upstream proxy has credentials.
func (s *Settings) HasUpstreamCredentials() bool {
	return slices.ContainsFunc(s.Policy.UpstreamRoutes(), func(r proxy.Route) bool { return r.Upstream.Credentials != nil })
}

// Upstreams returns the addresses of the upstream proxies for the log, with their patterns if those
// may be logged and there are any.
func (s *Settings) Upstreams() string {
	var all []string
	for _, r := range s.Policy.UpstreamRoutes() {
		pattern := ""
		if s.LogAddresses && len(s.Policy.Routes) > 0 {
			pattern = r.To.String() + "="
		}
		all = append(all, pattern+r.Upstream.Address)
	}
	return strings.Join(all, ", ")
}

// DirectSince returns the patterns of before whose destinations may be reached directly now.
// Names in .onion and .i2p never are.
func (s *Settings) DirectSince(before *Settings) (patterns []string) {
	proxied := s.Policy.UpstreamRoutes()
	for _, r := range before.Policy.UpstreamRoutes() {
		covers := func(now proxy.Route) bool { return now.To.Covers(r.To) }
		if !neverDirect(r.To) && !slices.ContainsFunc(proxied, covers) {
			patterns = append(patterns, r.To.String())
		}
	}
	return patterns
}

// neverDirect reports whether all that r matches needs an upstream proxy.
func neverDirect(r rules.Rule) bool {
	for _, names := range []string{"*.onion", "*.i2p"} {
		if rule, err := rules.ParseRule(names); err == nil && rule.Covers(r) {
			return true
		}
	}
	return false
}

// shownUpstreams returns the value of --upstream without credentials. With the addresses alone, a
// copy of the file does not connect past an upstream proxy.
func (s *Settings) shownUpstreams() any {
	shown := make([]string, len(s.upstream))
	for i, r := range s.Policy.UpstreamRoutes() {
		if pattern, _ := splitUpstream(s.upstream[i]); pattern != "" {
			shown[i] = pattern + "="
		}
		shown[i] += r.Upstream.String()
	}
	if len(shown) == 1 {
		return shown[0]
	}
	return shown
}
