package terminal

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"plain text":                            "plain text",
		"/home/zoë/ファイル":                        "/home/zoë/ファイル",
		"\x1b[2J\x07\r\n\t\x7f\u009b":           "?[2J??????",
		"\u202egnp.exe\u2066\u200b\ufeff\u00a0": "?gnp.exe????",
		"\xff\xfe":                              "??",
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	const text = "/\u009b2J\x7f\u202e\u00e9\U0001f600\xff/"
	document, err := json.Marshal(map[string]string{"a": text + "\x1b\n"})
	if err != nil {
		t.Fatal(err)
	}
	got := JSON(append(document, '\n'))
	if want := `{"a":"/\u009b2J\u007f\u202e\u00e9\ud83d\ude00\ufffd/\u001b\n"}` + "\n"; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var before, after any
	if json.Unmarshal(document, &before) != nil || json.Unmarshal(got, &after) != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("%v became %v", before, after)
	}
}

func TestCut(t *testing.T) {
	for width, want := range map[int]string{-1: "", 0: "", 1: ".", 2: "..", 3: "z..", 4: "zo..", 5: "zoë..", 6: "zoë's.", 7: "zoë's."} {
		if got := Cut("zoë's.", width); got != want && width < 6 || len([]rune(got)) > max(width, 0) {
			t.Errorf("%d: got %q, want %q", width, got, want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, test := range []struct {
		head, text string
		width      int
		want       []string
	}{
		{"", "", 10, []string{""}},
		{"ok  ", "one two three", 0, []string{"ok  one two three"}},
		{"ok  ", "one two three", 17, []string{"ok  one two three"}},
		{"ok  ", "one two three", 16, []string{"ok  one two", "    three"}},
		{"ok  ", "one two three", 8, []string{"ok  one", "    two", "    three"}},
		{"", "averylongword and", 5, []string{"averylongword", "and"}},
		{"é ", "zoë zoë", 5, []string{"é zoë", "  zoë"}},
	} {
		if got := Fold(test.head, test.text, test.width); !slices.Equal(got, test.want) {
			t.Errorf("%q in %d: got %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

// A line without a width limit is as long as its text, and takes linear time.
func TestFoldMuch(t *testing.T) {
	const words = 1 << 20
	if lines := Fold("", strings.Repeat("a ", words), 0); len(lines) != 1 || len(lines[0]) != 2*words-1 {
		t.Errorf("got %d lines, the first of %d bytes", len(lines), len(lines[0]))
	}
}

func FuzzText(f *testing.F) {
	f.Add("one \x1b[2J two\u202e", 10)
	f.Fuzz(func(t *testing.T, text string, width int) {
		clean := Clean(text)
		if strings.ContainsFunc(clean, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(clean) {
			t.Errorf("got %q", clean)
		}
		width %= 200
		if cut := Cut(clean, width); utf8.RuneCountInString(cut) > max(width, 0) {
			t.Errorf("%q is longer than %d", cut, width)
		}
		document, err := json.Marshal(text)
		var before, after string
		if err != nil || json.Unmarshal(document, &before) != nil || json.Unmarshal(JSON(document), &after) != nil || before != after {
			t.Errorf("%q became %q", before, after)
		}
		words := strings.Join(Fold("", clean, max(width, 0)), " ")
		if words != strings.Join(strings.Fields(clean), " ") {
			t.Errorf("%q became %q", clean, words)
		}
	})
}
