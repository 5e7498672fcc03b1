package setup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"bip324proxy/internal/plain"
	"bip324proxy/internal/terminal"
)

const (
	maxFile    = 1 << 20 // bytes of a configuration file; Core's example has 30 kB
	maxOptions = 1000    // known ones of a file
	maxInclude = 20      // files that one includes
)

// option is one value of a program's configuration: a flag or a line.
type option struct {
	key, value string
	name       string // the key as it is written
	section    string // of the file
	separator  string // between key and value
	file       string // empty for a flag
	line       int
}

func (o option) String() string {
	if o.name == "no"+o.key { // affirmed
		o.value = inverse(o.value)
	}
	switch {
	case o.file == "":
		return "-" + o.name + "=" + o.value
	case o.separator == ":":
		return o.name + ": " + o.value
	}
	return o.name + o.separator + o.value
}

// inverse returns 1 for 0, and 0 for 1.
func inverse(boolean string) string { return string('0' + '1' - boolean[0]) }

// where returns where the option is, and its key, and its value only if that is a number or an address.
func (o option) where() string {
	text := o.name
	if isAddress(o.value) || o.value == "0" || o.value == "1" {
		text = o.String()
	} else if o.file == "" {
		text = "-" + text
	}
	switch {
	case o.file == "":
		return "flag " + text
	case o.line == 0:
		return o.file + ": " + text
	}
	return fmt.Sprintf("line %d of %s: %s", o.line, o.file, text)
}

// isAddress reports whether the text is HOST:PORT, and nothing that means something to a shell.
func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	n, err2 := strconv.ParseUint(port, 10, 16)
	return err == nil && err2 == nil && n > 0 && host != "" && terminal.IsPlain(host, ".:-")
}

// isPath reports whether the text is an absolute path that means nothing else to a shell.
func isPath(text string) bool {
	also := "._-/"
	if filepath.Separator == '\\' {
		also += `:\`
	}
	return filepath.IsAbs(text) && terminal.IsPlain(text, also)
}

// readFile returns the text of a regular file. Anything else could make a reader wait forever.
func readFile(path string) (string, error) {
	if path == os.DevNull {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fileError(path, err)
	}
	irregular := fmt.Errorf("%s is not a regular file", path)
	if !info.Mode().IsRegular() {
		return "", irregular
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a FIFO
	if err != nil {
		return "", fileError(path, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", irregular
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errors.New("it is larger than 1 MiB")
	}
	if err != nil {
		return "", fileError(path, err)
	}
	return string(text), nil
}

// fileError returns err in plain words, with the path.
func fileError(path string, err error) error {
	var e *fs.PathError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot read %s: run this as its owner, or with sudo", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	case errors.As(err, &e):
		err = e.Err
	}
	return fmt.Errorf("cannot read %s: %s", path, plain.Words(err))
}

// grammar is how a program writes its configuration file.
type grammar struct {
	separator string // between key and value
	comments  bool   // a comment may follow a value
}

var (
	coreGrammar  = grammar{"=", true}
	goGrammar    = grammar{"=", false} // go-flags
	bcoinGrammar = grammar{":", false}
	torGrammar   = grammar{" ", true}
)

// trim removes spaces. To Core a no-break space, as web pages have it, is none, but part of a key.
func (g grammar) trim(text string) string {
	if g == coreGrammar {
		return strings.Trim(text, " \f\n\r\t\v")
	}
	return strings.TrimSpace(text)
}

// read returns the options of a file that have known keys, in order.
func (g grammar) read(path string, known []string) ([]option, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return g.parse(text, path, known)
}

// parse returns the options of a file that have known keys, in order. A key that a program may read
// as a known one, though it is written otherwise, has that one as its key and another name.
func (g grammar) parse(text, path string, known []string) (all []option, err error) {
	if strings.HasPrefix(text, "\ufeff") {
		return nil, fmt.Errorf("%s begins with a byte order mark, which belongs to its first line; save it without one (UTF-8 without BOM), and run this again", path)
	}
	section, n := "", 0
	for line := range strings.Lines(text) {
		n++
		if g.comments {
			line, _, _ = strings.Cut(line, "#")
		}
		line = g.trim(line)
		if g == bcoinGrammar && strings.HasSuffix(line, `\`) {
			return nil, fmt.Errorf("line %d of %s continues on the next; join them, and run this again", n, path)
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			continue
		}
		name, value, _ := strings.Cut(line, g.separator)
		o := option{name: g.trim(name), value: g.trim(value), section: section, separator: g.separator, file: path, line: n}
		if o.key = keyOf(section, o.name, known); o.key == "" {
			s, name, dotted := strings.Cut(o.name, ".") // as Core has it: regtest.proxy
			if !dotted || section != "" || !slices.Contains(known, name) {
				continue
			}
			o.section, o.key, o.name = s, name, name
		}
		if all = append(all, o); len(all) > maxOptions {
			return nil, fmt.Errorf("%s has more than %d lines about proxies and networks, too many to plan for", path, maxOptions)
		}
	}
	return all, nil
}

// keyOf returns the known key that a program may read the name as, or "". go-flags takes the names of
// the fields in its code, too, and those within a section; bcoin ignores hyphens.
func keyOf(section, name string, known []string) string {
	if slices.Contains(known, name) {
		return name
	}
	folded, section := fold(name), strings.ToLower(section)
	for _, k := range known {
		group, rest, dotted := strings.Cut(k, ".")
		inGroup := dotted && (section == group || section == "" || section == "application options") && fold(rest) == folded
		if fold(k) == folded || inGroup {
			return k
		}
	}
	return ""
}

func fold(key string) string { return strings.ToLower(strings.ReplaceAll(key, "-", "")) }

// parseFlags returns the flags with known keys. A flag without "=" takes the next argument if
// it is one of spaced, and is otherwise true. The value of -C may follow without a space.
func parseFlags(args []string, known []string, spaced ...string) (all []option) {
	for i := 0; i < len(args); i++ {
		if args[i] == "-" || args[i] == "--" { // no flags follow
			break
		}
		dashes := len(args[i]) - len(strings.TrimLeft(args[i], "-"))
		key, value, has := strings.Cut(args[i][dashes:], "=")
		if path, ok := strings.CutPrefix(args[i], "-C"); ok && path != "" && !has {
			key, value, has = "C", path, true
		}
		if dashes == 0 || !slices.Contains(known, key) {
			continue
		}
		if !has {
			value = "1"
			if slices.Contains(spaced, key) && i+1 < len(args) {
				i++
				value = args[i]
			}
		}
		all = append(all, option{key: key, name: key, value: value, separator: "="})
	}
	return all
}

// last returns the value of the last option with one of these keys, or ok = false.
func last(all []option, keys ...string) (value string, ok bool) {
	for _, o := range all {
		if slices.Contains(keys, o.key) {
			value, ok = o.value, true
		}
	}
	return value, ok
}

// joined returns path, relative to dir, with a leading ~ replaced by home.
func joined(dir, home, path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		return filepath.Join(home, rest)
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
