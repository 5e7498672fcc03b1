package command

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"bip324proxy/settings"
)

// checkArguments returns the arguments for the library to parse: args without those after --help.
// It returns an error for an unknown flag, a flag without its value, and a boolean flag followed by
// its value. Unlike the library's errors, these say what to write instead. c is the command, if one
// is named.
func checkArguments(app *cli.App, args []string) (checked []string, c *cli.Command, err error) {
	flags := append(slices.Clone(app.Flags), cli.HelpFlag, cli.VersionFlag)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			if c != nil { // it is the command's argument
				return args, c, nil
			}
			if c = app.Command(arg); c == nil {
				return args, nil, nil // serve reports it
			}
			flags = append(slices.Clone(c.Flags), cli.HelpFlag)
			continue
		}
		written, value, hasValue := strings.Cut(arg, "=")
		name := strings.TrimPrefix(written[1:], "-")
		f := flagNamed(flags, name)
		_, notBool := strconv.ParseBool(value)
		next := ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		switch {
		case arg == "--" || strings.HasPrefix(name, "-") || name == "":
			return args, c, nil
		case f == nil && c != nil && c.Name == "help": // help --v1-fallback is help v1-fallback
			args = slices.Clone(args)
			args[i] = name
			return args, c, nil
		case f == nil:
			return nil, c, usageError{unknownFlag(app, c, flags, written)}
		case hasValue && groupOf(f) == "" && !takesValue(f) && notBool != nil:
			return nil, c, usageError{fmt.Errorf("%s: %q is invalid; must be true or false", dashed(name), value)}
		case hasValue:
		case name == "help" || name == "h":
			if c != nil || app.Command(next) == nil { // --help COMMAND is help COMMAND
				args = args[:i+1]
			}
			return args, c, nil
		case takesValue(f):
			isFlag := strings.HasPrefix(next, "--") && (next == "--" || flagNamed(flags, next[2:]) != nil)
			if i++; i == len(args) || isFlag {
				return nil, c, usageError{fmt.Errorf("--%s needs a value; write --%s %s", name, name, valueName(f))}
			}
		case booleans[strings.ToLower(next)] != "":
			return nil, c, usageError{fmt.Errorf("--%s %s: this flag takes its value after =; write --%s=%s", name, next, name, booleans[strings.ToLower(next)])}
		}
	}
	return args, c, nil
}

// booleans has "true" or "false" by the words that mean it.
var booleans = map[string]string{"true": "true", "yes": "true", "on": "true", "1": "true", "false": "false", "no": "false", "off": "false", "0": "false"}

// flagNamed returns the flag of that name, without dashes, or nil.
func flagNamed(flags []cli.Flag, name string) cli.Flag {
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return flags[i]
}

func takesValue(f cli.Flag) bool {
	doc, ok := f.(cli.DocGenerationFlag)
	return ok && doc.TakesValue()
}

// dashed returns the name of a flag with its dashes: one before a letter, two before a word.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// unknownFlag returns the error about a flag, written with dashes, that the command c, or
// the program if c is nil, does not have.
func unknownFlag(app *cli.App, c *cli.Command, flags []cli.Flag, written string) error {
	written, _, hasColon := strings.Cut(written, ":") // a password may follow
	help, name := "bip324-proxy --help", strings.TrimLeft(written, "-")
	if hasColon && flagNamed(flags, name) != nil {
		return fmt.Errorf("%s: this flag takes its value after =, not after a colon", dashed(name))
	}
	if c != nil {
		help = "bip324-proxy " + c.Name + " --help"
		if flagNamed(app.Flags, name) != nil {
			return fmt.Errorf("%s does not take %s; remove it", c.Name, dashed(name))
		}
	}
	var names, having []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	if c == nil {
		having = commandsWith(app, name)
	}
	switch near := settings.Nearest(name, names); {
	case len(having) > 0:
		return fmt.Errorf("%s is a flag of %s; write it after the command: bip324-proxy %s %[1]s", dashed(name), strings.Join(having, ", "), having[0])
	case near != "":
		return fmt.Errorf("unknown flag %.60s; did you mean %s?", written, dashed(near))
	}
	return fmt.Errorf("unknown flag %.60s; %s lists all", written, help)
}

// commandsWith returns the names of the commands that have a flag.
func commandsWith(app *cli.App, flag string) (names []string) {
	for _, c := range app.Commands {
		if flagNamed(c.Flags, flag) != nil {
			names = append(names, c.Name)
		}
	}
	return names
}

// unknownCommand returns the error for a word that is not the name of a command.
func unknownCommand(app *cli.App, word string) error {
	flag, bare := flagIn(word)
	isOption := flagNamed(append(slices.Clone(app.Flags), cli.HelpFlag, cli.VersionFlag), flag) != nil
	near := settings.Nearest(word, commandNames(app))
	_, port, _ := net.SplitHostPort(word)
	_, notPort := strconv.ParseUint(port, 10, 16)
	switch {
	case word == "":
		return errors.New("an argument is empty; remove it, or put a command there")
	case isOption && strings.HasPrefix(word, "-"):
		return fmt.Errorf("%q follows --, which ends the flags; remove the --", shown(word))
	case isOption && !bare:
		return fmt.Errorf("%q does not begin with two ASCII hyphens; write %s", shown(word), dashed(flag))
	case isOption:
		return fmt.Errorf("unknown command %q; did you mean %s?", shown(word), dashed(flag))
	case near != "":
		return fmt.Errorf("unknown command %q; did you mean %s?", word, near)
	case slices.Contains([]string{"serve", "start"}, word):
		return fmt.Errorf("unknown command %q; leave it out: without a command, the proxy runs", word)
	case notPort == nil && shown(word) == word:
		return fmt.Errorf("unknown command %q; to listen on that address, write --listen %s; to check that peer, check %s", word, word, word)
	}
	if user, _, ok := strings.Cut(shown(word), ":"); ok && shown(word) == word { // what follows may be a password
		word = user + ":…"
	}
	return fmt.Errorf("unknown command %.60q; bip324-proxy --help lists all", shown(word))
}

// flagIn returns the name of the flag that word may be meant as, and whether it has no dashes.
func flagIn(word string) (name string, bare bool) {
	undashed := strings.TrimLeft(word, "-‐‑‒–—―−") // a word processor may have changed the dashes
	name, _, _ = strings.Cut(undashed, "=")
	return name, undashed == word
}

// isSecret reports whether word, given as the argument of a command, may contain a password: it is
// FLAG=VALUE, or a URL with a user.
func isSecret(app *cli.App, word string) bool {
	name, bare := flagIn(word)
	_, rest, isURL := strings.Cut(word, "://")
	return strings.Contains(word, "=") && (!bare || flagNamed(app.Flags, name) != nil) || isURL && strings.Contains(rest, "@")
}

// shown returns an argument as an error may show it: without what follows "=", and what precedes
// "@", which may be a password.
func shown(word string) string {
	if name, _, ok := strings.Cut(word, "="); ok {
		return name + "=…"
	}
	if i := strings.LastIndexByte(word, '@'); i >= 0 {
		return "…" + word[i:]
	}
	return word
}
