package command

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"bip324proxy/internal/testkit"
)

// A file that is not text, or in an unknown encoding, is an error that says what to do and shows nothing of it.
func TestFilesThatAreNotText(t *testing.T) {
	for name, content := range map[string]string{
		"UTF-16 without a mark":  testkit.UTF16(binary.LittleEndian, "secret:secret\n")[2:],
		"UTF-16, half a unit":    testkit.UTF16(binary.LittleEndian, "secret:secret\n") + "\n",
		"UTF-16, half a pair":    testkit.UTF16(binary.LittleEndian, "secret:secret") + "\x00\xd8",
		"UTF-32":                 "\xff\xfe\x00\x00s\x00\x00\x00:\x00\x00\x00s\x00\x00\x00",
		"NUL":                    "secret:secret\x00\n",
		"NUL in a later line":    "secret:secret\n\x00",
		"Windows-1252":           "secret:s\xe9cret\n",
		"only the mark, doubled": "\xff\xfe\xff",
	} {
		file := testkit.WriteFile(t, content)
		for _, flag := range []string{"--auth-file", "--status-token-file", "--config"} {
			var stderr strings.Builder
			if code := Run([]string{"bip324-proxy", flag, file}, io.Discard, &stderr); code != 2 {
				t.Errorf("%s, %s: exit code %d, want 2", name, flag, code)
			}
			checkOneLine(t, name, stderr.String(), "save it as UTF-8")
			checkOneLine(t, name, stderr.String(), file)
			if strings.Contains(stderr.String(), "secret") {
				t.Errorf("%s, %s: the file is shown: %s", name, flag, &stderr)
			}
		}
	}
}
