package command

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

// version is set by the linker: -ldflags "-X bip324proxy/command.version=0.1.0".
var version string

// bareVersion returns the version, such as 0.1.0. A build from a clone has a
// pseudo-version with the commit's time and hash, or else "devel".
func bareVersion() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" {
		v = strings.TrimPrefix(strings.Trim(info.Main.Version, "()"), "v")
	}
	return cmp.Or(v, "devel")
}

// versionText returns the version and platform, such as "0.1.0 (linux/amd64, go1.26.8)".
func versionText() string {
	return bareVersion() + " (" + runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version() + ")"
}

func versionCommand() *cli.Command {
	return command(&cli.Command{
		Name:   "version",
		Usage:  "print the version, as --version does",
		Action: func(c *cli.Context) error { cli.ShowVersion(c); return nil },
	})
}
