package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"os/user"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"bip324proxy/internal/listen"
	"bip324proxy/internal/transparent"
	"bip324proxy/settings"
)

// serviceUser is the user that the packages' service runs as. Most systems know it only while
// the service runs.
const serviceUser = "bip324-proxyd"

func transparentRulesCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "transparent-rules",
		Usage: "print the nft rules that redirect a user's connections to --transparent",
		Description: `Print the rules of nftables that redirect the TCP connections of a user of this
machine, or of the hosts behind an interface of this router, to the proxy's
--transparent listeners. The rules also refuse what would bypass the proxy: a user's
other traffic except DNS, and older TCP connections of hosts. They are one table;
loading them again replaces it. This command changes nothing: load the rules with
| nft -f -, and test them with bip324-proxy check --redirected as that user.

Give the same settings as to the proxy, by flags, environment or --config. Without
--transparent the rules are for 127.0.0.1:1326 and [::1]:1326.`,
		Flags: append(settings.Flags(),
			&cli.StringSliceFlag{Name: "user", Usage: "`USER`, a name or a number, whose connections to redirect; repeatable"},
			&cli.StringSliceFlag{Name: "service", Usage: "systemd `UNIT` whose user's connections to redirect; repeatable"},
			&cli.StringSliceFlag{Name: "router", Usage: "`INTERFACE` of the hosts whose connections this router redirects; repeatable"}),
		Action: runTransparentRules,
	})
}

func runTransparentRules(c *cli.Context) error {
	if runtime.GOOS != "linux" {
		return errors.New("transparent-rules prints rules of nftables, which only Linux has; docs/transparent.md has FreeBSD's")
	}
	rules, err := rulesOf(c)
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.App.Writer, rules.Script())
	return err
}

// rulesOf returns the rules that the flags and settings describe.
func rulesOf(c *cli.Context) (*transparent.Rules, error) {
	rules := new(transparent.Rules)
	names, units, interfaces := c.StringSlice("user"), c.StringSlice("service"), c.StringSlice("router")
	if len(names)+len(units)+len(interfaces) == 0 {
		return nil, usageError{errors.New("transparent-rules: add --user USER, --service UNIT or --router INTERFACE")}
	}
	s, err := settings.Load(c)
	if err != nil {
		return nil, err
	}
	if rules.Listeners, err = transparentListeners(s); err != nil {
		return nil, err
	}
	add := func(flag, name string) error {
		u, err := findUser(name)
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", flag, err)}
		}
		if !slices.Contains(rules.Users, u) {
			rules.Users = append(rules.Users, u)
		}
		return nil
	}
	for _, name := range names {
		if err := add("--user", name); err != nil {
			return nil, err
		}
	}
	for _, unit := range units {
		name, err := unitUser(c.Context, unit)
		if err != nil {
			return nil, usageError{fmt.Errorf("--service: %w", err)}
		}
		if err := add("--service "+unit, name); err != nil {
			return nil, err
		}
	}
	for _, name := range interfaces {
		if !interfaceName.MatchString(name) {
			return nil, usageError{fmt.Errorf("--router: %q is not the name of an interface; ip link lists them", name)}
		}
		if !slices.Contains(rules.Routed, name) {
			rules.Routed = append(rules.Routed, name)
		}
	}
	if len(interfaces) > 0 && rules.Target(false, true) == "" && rules.Target(true, true) == "" {
		return nil, s.Invalid("transparent", fmt.Errorf("connections of %s cannot be redirected to a loopback address; "+
			"add --transparent 0.0.0.0:1326 or the address of that interface, and --clients with the hosts' addresses", interfaces[0]))
	}
	return rules, nil
}

// interfaceName matches the names of interfaces that a rule can have.
var interfaceName = regexp.MustCompile(`^[A-Za-z0-9_.@-]{1,15}$`)

// transparentListeners returns the addresses of --transparent, by default the usual ones.
func transparentListeners(s *settings.Settings) (all []netip.AddrPort, err error) {
	specs := s.Transparent
	if len(specs) == 0 {
		specs = []string{"127.0.0.1:1326", "[::1]:1326"}
	}
	for _, spec := range specs {
		address, _ := listen.Parse(spec) // Load has parsed it, unless it is systemd:NAME
		addr, ok := address.NetAddr().(*net.TCPAddr)
		if !ok || addr.Port == 0 {
			return nil, s.Invalid("transparent", fmt.Errorf("a rule needs the address and the port, which %q does not have; write them, such as 127.0.0.1:1326", spec))
		}
		all = append(all, addr.AddrPort())
	}
	return all, nil
}

// findUser returns the user with that name or number.
func findUser(name string) (u transparent.User, err error) {
	known, unknown := user.LookupId(name) // a number may be of a container, without a name here
	number, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		if known, unknown = user.Lookup(name); unknown != nil {
			return u, fmt.Errorf("unknown user %q; getent passwd lists users; for one of a directory service, write the number", name)
		}
		if number, err = strconv.ParseUint(known.Uid, 10, 32); err != nil {
			return u, fmt.Errorf("the user %q has no valid number: %w", name, err)
		}
	}
	u.ID = uint32(number)
	if unknown == nil {
		u.Name = known.Username
	}
	own, err := user.Lookup(serviceUser)
	switch {
	case u.ID == 0:
		return u, errors.New("root runs the system's own programs, which must not be redirected; run the Bitcoin program as another user")
	case u.Name == serviceUser, err == nil && own.Uid == fmt.Sprint(u.ID):
		return u, fmt.Errorf("the proxy itself runs as %s, so its own connections would be redirected to it; run the Bitcoin program as another user", serviceUser)
	}
	return u, nil
}

// unitUser returns the user of a systemd unit. With a pattern systemctl shows several.
func unitUser(ctx context.Context, unit string) (string, error) {
	if strings.HasPrefix(unit, "-") || strings.ContainsAny(unit, " \n\t*?[") {
		return "", fmt.Errorf("%q is not the name of a unit", unit)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=LoadState,User,DynamicUser", unit).Output()
	if err != nil {
		if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && len(failed.Stderr) > 0 {
			said, _, _ := strings.Cut(string(failed.Stderr), "\n")
			err = errors.New(said)
		}
		return "", fmt.Errorf("cannot ask systemd about %s: %w; use --user instead", unit, err)
	}
	properties := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		properties[key] = value
	}
	switch {
	case properties["LoadState"] != "loaded":
		return "", fmt.Errorf("systemd has no unit %s; systemctl list-units --type=service lists them", unit)
	case properties["DynamicUser"] == "yes":
		return "", fmt.Errorf("%s has DynamicUser=yes, so its user changes; set User= and DynamicUser=no", unit)
	case properties["User"] == "":
		return "", fmt.Errorf("%s runs as root; set User= in the unit", unit)
	}
	return properties["User"], nil
}
