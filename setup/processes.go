package setup

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// kind is a program that setup knows.
type kind struct {
	name     string
	programs []string // names of its executables
	conf     string   // name of its configuration file
	dir      string   // of its data, as in Unix; elsewhere the name begins with a capital
	agent    string   // in the user agent of its VERSION
	plan     func(*machine, *process, *Part)
}

var kinds = []*kind{
	{"Bitcoin Core", []string{"bitcoind", "bitcoin-qt", "bitcoin-node", "bitcoin-gui"}, "bitcoin.conf", "bitcoin", "/Satoshi:", (*machine).planCore},
	{"btcd", []string{"btcd"}, "btcd.conf", "btcd", "btcd:", (*machine).planBtcd},
	{"utreexod", []string{"utreexod"}, "utreexod.conf", "utreexod", "utreexod:", (*machine).planBtcd},
	{"lnd", []string{"lnd"}, "lnd.conf", "lnd", "neutrino:", (*machine).planLnd},
	{"bcoin", []string{"bcoin", "bcoin-spvnode"}, "bcoin.conf", "bcoin", "bcoin:", (*machine).planBcoin},
	{"Electrum", []string{"electrum"}, "", "electrum", "", (*machine).planElectrum},
	{"Tor", []string{"tor"}, "torrc", "", "", nil},
	{"bip324-proxy", []string{"bip324-proxy", "bip324proxy"}, "", "", "", nil},
}

// process is a running program or, if pid is 0, one that is not running and has the configuration file conf.
type process struct {
	*kind
	pid     int
	args    []string // without the program's name
	dir     string   // its working directory, empty if unknown
	home    string
	conf    string // set if pid is 0
	started time.Time
	apart   string   // the container or network namespace in which it runs, if that is another one
	hidden  bool     // where it runs cannot be seen
	inodes  []uint64 // of its sockets, nil if unknown
}

// socket is a TCP socket of this machine.
type socket struct {
	local, remote netip.AddrPort
	listening     bool
	inode         uint64
}

// kindOf returns the kind of a program with these arguments, which may be a script, and the
// arguments without its name; or nil.
func kindOf(args []string) (*kind, []string) {
	for i := range min(len(args), 2) {
		name := strings.TrimSuffix(filepath.Base(args[i]), ".exe")
		for _, k := range kinds {
			if slices.Contains(k.programs, name) {
				return k, args[i+1:]
			}
		}
		if interpreter := strings.TrimRight(name, "0123456789."); !slices.Contains([]string{"node", "nodejs", "python"}, interpreter) {
			return nil, nil
		}
	}
	return nil, nil
}

// dataDir returns the default directory of a kind for a user with that home.
func (k *kind) dataDir(home string) string {
	if k.name == "bcoin" {
		return filepath.Join(home, ".bcoin")
	}
	capital := strings.ToUpper(k.dir[:1]) + k.dir[1:]
	switch runtime.GOOS {
	case "windows":
		roaming := filepath.Join(os.Getenv("APPDATA"), capital)
		if _, err := os.Stat(roaming); err == nil && k.name == "Bitcoin Core" {
			return roaming // since 28.0 only if it exists
		}
		return filepath.Join(os.Getenv("LOCALAPPDATA"), capital)
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", capital)
	}
	return filepath.Join(home, "."+k.dir)
}

// candidates returns the Bitcoin programs to plan: those that run, and those whose configuration
// file is at its usual place; or, if file is not empty, those that may read it.
func candidates(running []*process, file string) (all []*process) {
	all = slices.DeleteFunc(slices.Clone(running), func(p *process) bool { return p.plan == nil })
	of := func(k *kind) func(*process) bool { return func(p *process) bool { return p.kind == k } }
	home, _ := os.UserHomeDir()
	for _, k := range kinds {
		paths := []string{}
		switch {
		case k.conf == "" || k.plan == nil:
			continue
		case file != "":
			if filepath.Base(file) == k.conf && !slices.ContainsFunc(running, func(p *process) bool { return p.kind == k && samePath(p.confFile(), file) }) {
				absolute, err := filepath.Abs(file)
				if err != nil {
					absolute = file
				}
				paths = append(paths, absolute)
			}
		case !slices.ContainsFunc(running, of(k)):
			paths = append(paths, filepath.Join(k.dataDir(home), k.conf))
			if k.conf == "bitcoin.conf" && runtime.GOOS == "linux" {
				paths = append(paths, "/etc/bitcoin/bitcoin.conf", "/var/lib/bitcoind/bitcoin.conf", "/mnt/hdd/bitcoin/bitcoin.conf")
			}
		}
		for _, path := range paths {
			_, err := os.Stat(path)
			_, dirErr := os.Stat(filepath.Dir(path))
			if err == nil || os.IsPermission(err) || dirErr == nil && (file != "" || k.conf == "bitcoin.conf" && path == paths[0]) {
				all = append(all, &process{kind: k, home: home, dir: filepath.Dir(path), conf: path})
			}
		}
	}
	return all
}
