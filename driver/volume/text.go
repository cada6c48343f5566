package volume

import (
	"strings"
	"unicode"
)

// Printable returns what of a text that somebody else wrote is fit for a log or an error: at most so many bytes of it, in
// valid UTF-8, and a space for each character that moves a terminal's cursor, hides text or turns it round.
func Printable(text string, mostBytes int) string {
	cut := ""
	if len(text) > mostBytes {
		text, cut = text[:mostBytes], "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD")) + cut
}
