package volume_test

import (
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

func TestWhatOthersWroteIsFitForALog(t *testing.T) {
	for text, want := range map[string]string{
		"plain text, 100%":            "plain text, 100%",
		"\x1b[31mred\x1b[0m":          " [31mred [0m",
		"one\ntwo\r\tthree\x00":       "one two  three ",
		"turned \u202Eround":          "turned  round",
		"not UTF-8 \xff":              "not UTF-8 \uFFFD",
		"größer":                      "größer",
		strings.Repeat("\x80", 50):    "\uFFFD…",
		strings.Repeat("a", 50):       strings.Repeat("a", 40) + "…",
		strings.Repeat("a", 39) + "ö": strings.Repeat("a", 39) + "…", // and no half of a letter
	} {
		if got := volume.Printable(text, 40); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
