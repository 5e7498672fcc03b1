package setup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"bip324proxy/internal/plain"
)

const maxFile = 1 << 20 // bytes of a configuration file; Core's example has 30 kB

// option is one value of a program's configuration: a flag or a line.
type option struct {
	key, value string
	section    string // of the file
	separator  string // between key and value
	file       string // empty for a flag
	line       int
}

func (o option) String() string {
	switch {
	case o.file == "":
		return "-" + o.key + "=" + o.value
	case o.separator == ":":
		return o.key + ": " + o.value
	}
	return o.key + o.separator + o.value
}

// withoutCredentials returns the option without credentials, if it is the address of a proxy.
func (o option) withoutCredentials() option {
	if o.key == "proxy" || o.key == "onion" || o.key == "tor.socks" {
		scheme := strings.Index(o.value, "://") + 1
		if scheme > 0 {
			scheme += len("//")
		}
		o.value = o.value[:scheme] + o.value[max(scheme, strings.LastIndex(o.value, "@")+1):]
	}
	return o
}

// off reports whether Core and go-flags read the value as false.
func (o option) off() bool { return o.value == "0" || o.value == "false" }

// readFile returns the text of a regular file. Anything else could make a reader wait forever.
func readFile(path string) (string, error) {
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
	switch cause := error(nil); {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot read %s: run this as its owner, or with sudo", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	default:
		if e := new(fs.PathError); errors.As(err, &e) {
			cause = e.Err
		} else {
			cause = err
		}
		return fmt.Errorf("cannot read %s: %s", path, plain.Words(cause))
	}
}

// parseFile returns the options of an INI file that have known keys, in order. Core allows a key to
// begin with its section: regtest.proxy.
func parseFile(text, path, separator string, known []string) (all []option) {
	section, n := "", 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if strings.HasPrefix(line, "[") && strings.Contains(line, "]") {
			section = line[1:strings.Index(line, "]")]
			continue
		}
		key, value, _ := strings.Cut(line, separator)
		o := option{strings.TrimSpace(key), strings.TrimSpace(value), section, separator, path, n}
		if !slices.Contains(known, o.key) {
			s, key, dotted := strings.Cut(o.key, ".")
			if !dotted || !slices.Contains(known, key) {
				continue
			}
			o.section, o.key = s, key
		}
		value, _, _ = strings.Cut(o.value, "#")
		o.value = strings.Trim(strings.TrimSpace(value), `"`)
		all = append(all, o.withoutCredentials())
	}
	return all
}

// parseFlags returns the flags with known keys. A flag without "=" takes the next argument if
// it is one of spaced, and is otherwise true.
func parseFlags(args []string, known []string, spaced ...string) (all []option) {
	for i := 0; i < len(args); i++ {
		dashes := len(args[i]) - len(strings.TrimLeft(args[i], "-"))
		key, value, has := strings.Cut(args[i][dashes:], "=")
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
		all = append(all, option{key: key, value: value, separator: "="}.withoutCredentials())
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

// isOn reports whether the last option with that key, a boolean, is true.
func isOn(all []option, key string) bool {
	value, ok := last(all, key)
	return ok && value != "" && !option{value: value}.off()
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
