package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// inShell runs a script in a shell with the program's completions in the file $1, and returns the lines it prints.
func inShell(t *testing.T, shell, script string) []string {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		notRun(t, "%s is missing; apt-get install %[1]s", shell)
	}
	code, completions, stderr := run(t, "completion", shell)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	file := filepath.Join(t.TempDir(), "_bip324-proxy") // the name that zsh requires
	if err := os.WriteFile(file, []byte(completions), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := []string{"-c", script, shell, file}
	if shell == "fish" {
		args = []string{"-c", script, file}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+cmd.Dir, "XDG_CONFIG_HOME="+cmd.Dir, "TERM=dumb")
	if err := os.WriteFile(filepath.Join(cmd.Dir, "some-file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", shell, err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// completions lists what each shell must offer for the last word of a line.
var completions = []struct {
	line string
	want string // the words, in order; "..." allows others
}{
	{"--v1-fallback ", "always never overlay"},
	{"--v1-fallback o", "overlay"},
	{"--passthrough=d", "deny"},
	{"--log-level=", "debug error info warn"},
	{"completion ", "bash fish zsh"},
	{"help ch", "check"},
	{"--log-format json completion f", "fish"},
	{"--listen 127.0.0.1:0 --pass", "--passthrough"},
	{"--listen 127.0.0.1:0 demo --h", "--help"},
	{"", "completion demo man version ..."},
	{"run --fence ", "auto namespace seccomp"},
	{"run --publ", "--publish"},
	{"run some-", "some-file"},
	{"--listen ", ""},
	{"demo ", ""},
}

func checkCompletion(t *testing.T, line, want string, got []string) {
	t.Helper()
	slices.Sort(got)
	wanted := strings.Fields(want)
	if n := len(wanted) - 1; n >= 0 && wanted[n] == "..." {
		wanted = wanted[:n]
		got = slices.DeleteFunc(got, func(word string) bool { return !slices.Contains(wanted, word) })
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("%q is completed with %q, want %q", line, got, wanted)
	}
}

func TestBashCompletion(t *testing.T) {
	t.Parallel()
	// Like readline: split the line at spaces, = and :, and pass the function all words and the index of the last.
	const complete = `source "$1"; complete -p bip324-proxy
		COMP_WORDS=(bip324-proxy TYPED); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		_bip324_proxy bip324-proxy; printf '%s\n' "${COMPREPLY[@]}"`
	for _, c := range append(completions, struct{ line, want string }{"--auth-file ", ""}) {
		words := strings.NewReplacer("=", " '=' ", ":", " ':' ").Replace(c.line)
		if strings.HasSuffix(c.line, " ") || c.line == "" {
			words += " ''"
		}
		got := inShell(t, "bash", strings.Replace(complete, "TYPED", words, 1))
		if got[0] != "complete -o default -F _bip324_proxy bip324-proxy" {
			t.Errorf("unexpected registration in bash %q", got[0])
		}
		checkCompletion(t, c.line, c.want, slices.DeleteFunc(got[1:], func(word string) bool { return word == "" }))
	}
}

func TestFishCompletion(t *testing.T) {
	t.Parallel()
	for _, c := range append(completions, struct{ line, want string }{"--auth-file s", "some-file"}) {
		flag, _, hasValue := strings.Cut(c.line, "=")
		var got []string
		for _, line := range inShell(t, "fish", `source $argv[1]; complete -C "bip324-proxy `+c.line+`"`) {
			word, _, _ := strings.Cut(line, "\t")
			if hasValue {
				word = strings.TrimPrefix(word, flag+"=")
			}
			if word != "" {
				got = append(got, word)
			}
		}
		checkCompletion(t, c.line, c.want, got)
	}
}

// zsh completes only in its line editor: each line is typed into a zsh on a pseudoterminal.
func TestZshCompletion(t *testing.T) {
	t.Parallel()
	const script = `cat >setup <<-'END'
			PS1=; autoload -Uz compinit; compinit -u -D
			bip324-proxy() { print -r -- "<${(j:|:)@}>" }
		END
		zmodload zsh/zpty; zpty shell zsh -f -i
		zpty -w shell "fpath=(${1:h} \$fpath); source ./setup"
		zpty -w -n shell $'bip324-proxy TYPED\t\n'
		zpty -r shell line $'*<*>*'; print -r -- "${${line##*<}%%>*}"; zpty -d shell`
	for typed, want := range map[string]string{
		"--v1-fallback ov":                  "--v1-fallback|overlay",
		"--passthrough=d":                   "--passthrough=deny",
		"--listen 127.0.0.1:0 completion f": "--listen|127.0.0.1:0|completion|fish",
		"--auth-file so":                    "--auth-file|some-file",
		"ver":                               "version",
	} {
		if got := inShell(t, "zsh", strings.Replace(script, "TYPED", typed, 1)); !slices.Equal(got, []string{want}) {
			t.Errorf("%q becomes %q, want %q", typed, got, want)
		}
	}
}

// Manual page formatters report no errors.
func TestManualPage(t *testing.T) {
	t.Parallel()
	code, page, stderr := run(t, "man")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, args := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"groff", "-man", "-ww", "-z"}} {
		t.Run(args[0], func(t *testing.T) {
			path, err := exec.LookPath(args[0])
			if err != nil {
				notRun(t, "%s is missing; apt-get install %[1]s", args[0])
			}
			cmd := exec.Command(path, args[1:]...)
			cmd.Stdin = strings.NewReader(page)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
