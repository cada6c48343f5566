package volume

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns what of a text that somebody else wrote is fit for a log or an error: at most so many bytes of it, in
// valid UTF-8, and a space for each character that moves a terminal's cursor, hides text or turns it round.
func Printable(text string, mostBytes int) string {
	cut := ""
	if most := mostBytes; len(text) > most {
		for most > 0 && most > mostBytes-utf8.UTFMax && !utf8.RuneStart(text[most]) { // no half of a letter
			most--
		}
		text, cut = text[:most], "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD")) + cut
}
