// Package config reads the configuration file: sections with keys, and errors that name the section and the key. What a
// section means is said by whoever reads it: a kind of pool parses its own.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// MaxBytes bounds the file. A larger one is not a configuration.
const MaxBytes = 1 << 20

// Section is one mapping of the configuration file. Its values are decoded one by one, since a decoder into a struct takes a
// key in any case and cannot name the pool that a wrong one is in. What is wrong is kept until Err is asked, so that all of it
// is said at once; a value that is wrong is the zero value meanwhile.
type Section struct {
	parent *Section // is told of all that is wrong
	where  string   // in messages: what is before a key; empty at the top
	values map[string]json.RawMessage
	errs   []error
}

// Parse reads a file of one document, which is a mapping with no other keys than the known ones. A key that is there twice is
// an error.
func Parse(text []byte, known ...string) (*Section, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("it has more than the %d bytes that a configuration may have", MaxBytes)
	}
	// The decoder would read the first document and not say that there are more.
	if regexp.MustCompile(secondDocument).Match(text) {
		return nil, errors.New("it has more than one YAML document: keep one")
	}
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("as YAML: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	s := (*Section)(nil).child("", raw)
	s.Only(known...)
	return s, s.Err()
}

// secondDocument finds a document marker behind a line that is neither blank nor a comment.
const secondDocument = `(?m)^[^\s#][^\n]*\n(?:[^\n]*\n)*?(?:---|\.\.\.)(?:\s|$)`

func (s *Section) child(where string, raw json.RawMessage) *Section {
	c := &Section{parent: s}
	c.Rename(where)
	if err := json.Unmarshal(raw, &c.values); err != nil || c.values == nil {
		c.Errorf("%s is not a mapping of keys to values", bytes.TrimSpace(raw[:min(len(raw), 64)]))
	}
	return c
}

// Child returns the section under key.
func (s *Section) Child(key string) *Section { return s.child(s.where+key, s.values[key]) }

// List returns the sections in the list under key, which are called key[0] and so on. It is nil where there is no list, or an
// empty one.
func (s *Section) List(key string) []*Section {
	var list []json.RawMessage
	if raw, ok := s.values[key]; !ok || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var sections []*Section
	for i, raw := range list {
		sections = append(sections, s.child(fmt.Sprintf("%s%s[%d]", s.where, key, i), raw))
	}
	return sections
}

// Rename has what is wrong from now on said of the section by another name, as: pool "fast".
func (s *Section) Rename(where string) {
	s.where = where
	if where != "" {
		s.where += ": "
	}
}

// Err returns all that was found wrong in the section and in its children, nil where that is nothing.
func (s *Section) Err() error { return errors.Join(s.errs...) }

// Errorf says what is wrong with the section.
func (s *Section) Errorf(format string, args ...any) {
	err := fmt.Errorf("%s%w", s.where, fmt.Errorf(format, args...))
	for ; s != nil; s = s.parent {
		s.errs = append(s.errs, err)
	}
}

// Wrong says what is wrong with the value under key.
func (s *Section) Wrong(key, format string, args ...any) {
	s.Errorf("%s: %w", key, fmt.Errorf(format, args...))
}

// Has reports whether there is such a key.
func (s *Section) Has(key string) bool { _, ok := s.values[key]; return ok }

// Only refuses keys other than the known ones, by name.
func (s *Section) Only(known ...string) {
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if !slices.Contains(known, key) {
			s.Errorf("key %.128q is unknown: loam knows %s", key, strings.Join(known, ", "))
		}
	}
}
