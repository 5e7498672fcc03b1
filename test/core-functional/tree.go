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

// changes make the test framework use a proxy. They are applied to a copy of it.
//
// Core bypasses its proxy for loopback addresses but not for names, so nodes connect to "localhost". The nodes accept
// v2 but speak v1 themselves, as with addnode's third argument, so the proxy speaks v2 for them. The framework's own
// peers that a node connects to answer in v2, with a Python implementation, although they do not advertise it. Tests in
// which a node must speak v2 itself are unchanged, and pass through.
var changes = []change{
	{"util.py", `        f.write(extra_config)`,
		`        f.write("proxy=" + os.environ["CORE_FUNCTIONAL_PROXY"] + "\nnoonion=1\n" + extra_config)`},
	{"test_node.py", `self.args.append("-v2transport=0")`, `self.args.append("-v2transport=1")`},
	{"test_framework.py", `ip_port = "127.0.0.1:" + str(p2p_port(b))`, `ip_port = "localhost:" + str(p2p_port(b))`},
	{"test_framework.py", `if peer_advertises_v2 != from_connection.use_v2transport:`, `if True:`},
	{"test_node.py", `self.addconnection('%s:%d' % (address, port),`, `self.addconnection('localhost:%d' % port,`},
	{"test_node.py", `supports_v2_p2p = supports_v2_p2p and advertise_v2_p2p`, `supports_v2_p2p = not reconnect`},
}

type change struct{ file, old, new string }

// connects matches tests in which a node connects to anything.
var connects = regexp.MustCompile(`num_nodes = ([2-9]|1\d)|connect_nodes|add_outbound_p2p_connection`)

// workshop is the state that all runs share.
type workshop struct {
	options
	dir     string // removed at the end
	proxy   string // its path
	direct  string // unchanged copy of the tree
	through string // copy with the changes
}

func newWorkshop(ctx context.Context, o options, dir string) (*workshop, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	w := &workshop{options: o, dir: dir, proxy: in("bip324-proxy"), direct: in("direct"), through: in("through")}
	build := exec.CommandContext(ctx, "go", "build", "-o", w.proxy, "bip324proxy")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	if err := errors.Join(w.copyTree(w.direct, nil), w.copyTree(w.through, changes)); err != nil {
		return nil, err
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
		changes = append([]change{{"util.py", `        f.write("server=1\n")`,
			fmt.Sprintf(`        f.write("server=1\n%s\n")`, strings.ReplaceAll(w.conf, ",", `\n`))}}, changes...)
	}
	for _, c := range changes {
		if err := replaceOnce(filepath.Join(dir, "test/functional/test_framework", c.file), c.old, c.new); err != nil {
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

// configure writes what Core's build would have written for the tests: paths and enabled features.
func (w *workshop) configure(tree string) error {
	components := []string{"ENABLE_WALLET", "USE_SQLITE", "ENABLE_BITCOIND"}
	if w.cli != w.bitcoind {
		components = append(components, "ENABLE_CLI")
	}
	config := fmt.Sprintf("[environment]\nCLIENT_NAME=Bitcoin Core\nCLIENT_BUGREPORT=nowhere\nSRCDIR=%s\nBUILDDIR=%s\n"+
		"EXEEXT=\nRPCAUTH=%s\n[components]\n%s=true\n", tree, w.dir, filepath.Join(tree, "share/rpcauth/rpcauth.py"),
		strings.Join(components, "=true\n"))
	return os.WriteFile(filepath.Join(tree, "test/config.ini"), []byte(config), 0o644)
}

// tests lists the tests of the tree in which a node connects to anything, without the skipped ones.
func (w *workshop) tests() (names []string, err error) {
	functional := filepath.Join(w.core, "test/functional")
	kinds := []string{"p2p_*.py", "feature_*.py", "mempool_*.py", "rpc_*.py", "mining_*.py", "interface_*.py", "wallet_*.py"}
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
			if connects.Match(b) && skipped[name] == "" {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
