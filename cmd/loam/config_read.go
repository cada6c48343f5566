package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/loam-storage/loam/driver/volume"
)

// section is one mapping of the configuration file. Its values are decoded one by one, since a decoder
// into a struct takes a key in any case and cannot name the pool that a wrong one is in.
type section struct {
	where  string // of the file this is, for messages; empty at the top
	values map[string]json.RawMessage
}

// readYAML reads a file of one document, which is a mapping with no other keys than the known ones. A
// key that is there twice is an error.
func readYAML(text []byte, known ...string) (section, error) {
	if len(text) > maxConfigBytes {
		return section{}, fmt.Errorf("it has more than the %d bytes that a configuration may have", maxConfigBytes)
	}
	// The decoder would read the first document and not say that there are more.
	if second.Match(text) {
		return section{}, fmt.Errorf("it has more than one YAML document: keep one")
	}
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return section{}, fmt.Errorf("as YAML: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	s, err := newSection("", raw)
	if err != nil {
		return section{}, err
	}
	return s, s.only(known...)
}

// second finds a document marker behind a line that is neither blank nor a comment.
var second = regexp.MustCompile(`(?m)^[^\s#][^\n]*\n(?:[^\n]*\n)*?(?:---|\.\.\.)(?:\s|$)`)

func newSection(where string, raw json.RawMessage) (section, error) {
	s := section{where: where}
	if err := json.Unmarshal(raw, &s.values); err != nil || s.values == nil {
		return s, fmt.Errorf("%s%s is not a mapping of keys to values", s.prefix(), bytes.TrimSpace(raw[:min(len(raw), 64)]))
	}
	return s, nil
}

func (s section) prefix() string {
	if s.where == "" {
		return ""
	}
	return s.where + ": "
}

// wrong makes an error about one key.
func (s section) wrong(key, format string, args ...any) error {
	return fmt.Errorf("%s%s: %w", s.prefix(), key, fmt.Errorf(format, args...))
}

func (s section) has(key string) bool { _, ok := s.values[key]; return ok }

// only refuses keys other than the known ones, by name.
func (s section) only(known ...string) error {
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("%skey %.128q is unknown: loam knows %s", s.prefix(), key, strings.Join(known, ", "))
		}
	}
	return nil
}

// text returns the text under key, empty where there is no such key. What YAML takes for a number or
// a truth is refused, for it may not be what was written ("node: 010" is 8).
func (s section) text(key string) (string, error) {
	raw, ok := s.values[key]
	if !ok {
		return "", nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || raw[0] != '"' {
		return "", s.wrong(key, "%.64s is not a text: put it in quotes", raw)
	}
	if text == "" {
		return "", s.wrong(key, "is empty: leave the key out, or give it a value")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return "", s.wrong(key, "%.128q has a control character", text)
	}
	return text, nil
}

func (s section) number(key string, least, most int64) (int64, error) {
	raw, ok := s.values[key]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < least || n > most {
		return 0, s.wrong(key, "%.64s is not a whole number from %d to %d", raw, least, most)
	}
	return n, nil
}

// ratio returns 0 where there is no such key.
func (s section) ratio(key string) (float64, error) {
	raw, ok := s.values[key]
	if !ok {
		return 0, nil
	}
	ratio, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(ratio >= 1) {
		return 0, s.wrong(key, "%.64s is not a number of 1 or more, such as 1.5", raw)
	}
	return ratio, nil
}

func (s section) list(key string) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if raw, ok := s.values[key]; !ok || json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return nil, s.wrong(key, "name at least one pool, as in \"pools: [{name: default, loop: {directory: /var/lib/loam/default}}]\"")
	}
	return list, nil
}

// size returns a size that is written with its unit, 0 where there is no such key.
func (s section) size(key string) (volume.Size, error) {
	text, err := s.text(key)
	if err != nil || text == "" {
		return 0, err
	}
	size, err := volume.ParseSize(text)
	if err != nil {
		return 0, s.wrong(key, "%w", err)
	}
	if size == 0 || strings.Trim(text, "0123456789.") == "" {
		return 0, s.wrong(key, "%q: write a size with its unit, such as 50Gi", text)
	}
	return size, nil
}

func (s section) directory() (string, error) {
	path, err := s.text("directory")
	switch {
	case err != nil:
		return "", err
	case path == "":
		return "", s.wrong("directory", "is missing: it says where the pool is")
	case !filepath.IsAbs(path) || filepath.Clean(path) == "/":
		return "", s.wrong("directory", "%q is not an absolute path of a directory for this pool alone", path)
	}
	return filepath.Clean(path), nil
}

func (s section) sparse() (bool, error) {
	switch text, err := s.text("allocation"); text {
	case "", "preallocated":
		return false, err
	case "sparse":
		return true, nil
	default:
		return false, s.wrong("allocation", "%q is neither preallocated nor sparse", text)
	}
}

var percentPattern = regexp.MustCompile(`^([0-9]{1,2})%$`)

// reserve returns either bytes or percent. A number with neither unit could mean both and is refused.
func (s section) reserve() (volume.Size, int, error) {
	text, err := s.text("reserve")
	if err != nil || text == "" {
		return 0, 0, err
	}
	if m := percentPattern.FindStringSubmatch(text); m != nil {
		percent, err := strconv.Atoi(m[1])
		return 0, percent, err
	}
	size, err := s.size("reserve")
	if err != nil {
		return 0, 0, s.wrong("reserve", "%q is neither a size such as 10Gi nor a percentage from 0%% to 99%%", text)
	}
	return size, 0, nil
}
