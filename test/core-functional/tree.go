package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// viaProxy makes the test framework use a proxy. It is applied to a copy.
//
// Core bypasses its proxy for loopback addresses but not for names, so nodes connect to "localhost".
var viaProxy = []change{
	{"test_framework/util.py", `        f.write(extra_config)`,
		`        f.write("proxy=" + os.environ["CORE_FUNCTIONAL_PROXY"] + "\nnoonion=1\n" + extra_config)`},
	{"test_framework/test_framework.py", `ip_port = "127.0.0.1:" + str(p2p_port(b))`, `ip_port = "localhost:" + str(p2p_port(b))`},
	{"test_framework/test_node.py", `self.addconnection('%s:%d' % (address, port),`, `self.addconnection('localhost:%d' % port,`},
}

// inV2 makes the proxy speak v2 for the nodes, in addition to viaProxy.
//
// The nodes accept v2 but speak v1 themselves, as with addnode's third argument. The framework's own peers that a node
// connects to answer in v2, with a Python implementation, although they do not advertise it. Tests in which a node must
// speak v2 itself are unchanged, and pass through. One test compares all service flags, to which accepting v2 adds one.
var inV2 = []change{
	{"test_framework/test_node.py", `self.args.append("-v2transport=0")`, `self.args.append("-v2transport=1")`},
	{"test_framework/test_framework.py", `if peer_advertises_v2 != from_connection.use_v2transport:`, `if True:`},
	{"test_framework/test_node.py", `supports_v2_p2p = supports_v2_p2p and advertise_v2_p2p`, `supports_v2_p2p = not reconnect`},
	{"p2p_node_network_limited.py", `if self.options.v2transport:`, `if True:`},
}

// change is a line of a file below test/functional, and what replaces it.
type change struct{ file, old, new string }

// connects matches tests in which a node connects to anything.
var connects = regexp.MustCompile(`num_nodes = ([2-9]|1\d)|connect_nodes|add_outbound_p2p_connection`)

// workshop is the state that all runs share.
type workshop struct {
	options
	dir     string // removed at the end
	proxy   string // its path
	direct  string // unchanged copy of the tree
	through string // copy with viaProxy and inV2
	plain   string // copy with viaProxy, if microsocks is given
}

func newWorkshop(ctx context.Context, o options, dir string) (*workshop, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	w := &workshop{options: o, dir: dir, proxy: in("bip324-proxy"), direct: in("direct"), through: in("through"), plain: in("plain")}
	build := exec.CommandContext(ctx, "go", "build", "-o", w.proxy, "bip324proxy")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	changes := slices.Concat(viaProxy, inV2)
	if o.inbound {
		changes = beforeNodes
	}
	if err := errors.Join(w.copyTree(w.direct, nil), w.copyTree(w.through, changes)); err != nil {
		return nil, err
	}
	if w.microsocks != "" {
		if err := w.copyTree(w.plain, viaProxy); err != nil {
			return nil, err
		}
	}
	// The chain that most tests start from, created once.
	if cache := w.python(ctx, w.direct, "create_cache.py", 0, "cache.tmp"); cache.err != nil {
		return nil, fmt.Errorf("create_cache.py: %w\n%s", cache.err, cache.output)
	}
	return w, nil
}

// copyTree copies what the tests need of the tree, applies changes, and adds settings to the nodes' bitcoin.conf.
func (w *workshop) copyTree(dir string, changes []change) error {
	for _, part := range []string{"test", "share/rpcauth", "contrib"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(w.core, part))); err != nil {
			return err
		}
	}
	if w.conf != "" {
		changes = append([]change{{"test_framework/util.py", `        f.write("server=1\n")`,
			fmt.Sprintf(`        f.write("server=1\n%s\n")`, strings.ReplaceAll(w.conf, ",", `\n`))}}, changes...)
	}
	for _, c := range changes {
		if err := replaceOnce(filepath.Join(dir, "test/functional", c.file), c.old, c.new); err != nil {
			return err
		}
	}
	return w.configure(dir)
}

func replaceOnce(path, old, replacement string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(b), old); n != 1 {
		return fmt.Errorf("%s contains this %d times, want once: %s\n(adapt the changes in tree.go to this version)", path, n, old)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(b), old, replacement, 1)), 0o644)
}

// configure writes what Core's build would have written for the tests: paths and enabled features. It takes the features
// from the build, or assumes those that releases have and the tests of this command need.
func (w *workshop) configure(tree string) error {
	build := filepath.Dir(filepath.Dir(w.bitcoind))
	built, err := os.ReadFile(filepath.Join(build, "test/config.ini"))
	_, components, ok := strings.Cut(string(built), "[components]\n")
	if err != nil || !ok {
		components = "ENABLE_WALLET=true\nUSE_SQLITE=true\nENABLE_BITCOIND=true\n"
		for _, none := range []string{"BUILD_BENCH", "BUILD_BITCOIN_TX", "BUILD_GUI", "ENABLE_BITCOIN_CHAINSTATE", "ENABLE_BITCOIN_UTIL",
			"ENABLE_EMBEDDED_ASMAP", "ENABLE_EXTERNAL_SIGNER", "ENABLE_FUZZ_BINARY", "ENABLE_IPC", "ENABLE_USDT_TRACEPOINTS",
			"ENABLE_WALLET_TOOL", "ENABLE_ZMQ"} {
			components += none + "=false\n"
		}
		components += "ENABLE_CLI=true\n"
	}
	if w.cli == w.bitcoind {
		components = strings.Replace(components, "ENABLE_CLI=true", "ENABLE_CLI=false", 1)
	}
	config := fmt.Sprintf("[environment]\nCLIENT_NAME=Bitcoin Core\nCLIENT_BUGREPORT=nowhere\nSRCDIR=%s\nBUILDDIR=%s\n"+
		"EXEEXT=\nRPCAUTH=%s\n[components]\n%s", tree, build, filepath.Join(tree, "share/rpcauth/rpcauth.py"), components)
	return os.WriteFile(filepath.Join(tree, "test/config.ini"), []byte(config), 0o644)
}

// tests lists the tests of the tree in which a node connects to anything, or with -inbound those of peers in which
// something connects to a node, without the skipped ones.
func (w *workshop) tests() (names []string, err error) {
	functional := filepath.Join(w.core, "test/functional")
	kinds := []string{"p2p_*.py", "feature_*.py", "mempool_*.py", "rpc_*.py", "mining_*.py", "interface_*.py", "wallet_*.py"}
	matches := connects
	if w.inbound {
		kinds, matches = kinds[:1], comesIn
	}
	for _, kind := range kinds {
		paths, err := filepath.Glob(filepath.Join(functional, kind))
		if err != nil {
			return nil, err
		}
		slices.Sort(paths)
		for _, path := range paths {
			name := strings.TrimSuffix(filepath.Base(path), ".py")
			b, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			if matches.Match(b) && w.skipped()[name] == "" {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
