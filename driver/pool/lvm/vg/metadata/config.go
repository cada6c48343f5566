package metadata

import (
	"fmt"
	"strconv"
	"strings"
)

// section is a section of LVM's text: numbers (int64), strings, lists ([]any of those) and sections, by their names.
type section map[string]any

// maxDepth bounds how deep sections are within each other. Those of a volume group are four deep.
const maxDepth = 16

// parse reads LVM's text (lvm.conf(5)).
func parse(text []byte) (section, error) {
	s := &scanner{rest: string(text)}
	top, err := s.section(0)
	if err != nil {
		return nil, fmt.Errorf("%w, %d bytes before its end", err, len(s.rest))
	}
	return top, nil
}

type scanner struct{ rest string }

// blanks passes over what says nothing.
func (s *scanner) blanks() {
	for {
		s.rest = strings.TrimLeft(s.rest, " \t\r\n")
		if !strings.HasPrefix(s.rest, "#") {
			return
		}
		_, s.rest, _ = strings.Cut(s.rest, "\n")
	}
}

// next takes the byte if it is what comes next.
func (s *scanner) next(b byte) bool {
	s.blanks()
	if s.rest == "" || s.rest[0] != b {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// word takes what is up to a byte that is part of no name or number.
func (s *scanner) word() string {
	s.blanks()
	n := strings.IndexAny(s.rest, " \t\r\n={}[],\"#")
	if n < 0 {
		n = len(s.rest)
	}
	word := s.rest[:n]
	s.rest = s.rest[n:]
	return word
}

// section reads up to the brace that ends it, or the end where it is not in another.
func (s *scanner) section(depth int) (section, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("sections are more than %d deep", maxDepth)
	}
	found := section{}
	for {
		if depth > 0 && s.next('}') {
			return found, nil
		}
		if s.blanks(); s.rest == "" && depth == 0 {
			return found, nil
		}
		name, err := s.word(), error(nil)
		switch {
		case name == "":
			return nil, fmt.Errorf("a name is missing")
		case s.next('{'):
			found[name], err = s.section(depth + 1)
		case s.next('='):
			found[name], err = s.value()
		default:
			err = fmt.Errorf("%.64q is neither a section nor a value", name)
		}
		if err != nil {
			return nil, err
		}
	}
}

// value reads a list or a scalar.
func (s *scanner) value() (any, error) {
	if !s.next('[') {
		return s.scalar()
	}
	list := []any{}
	for !s.next(']') {
		v, err := s.scalar()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if !s.next(',') && !strings.HasPrefix(s.rest, "]") {
			return nil, fmt.Errorf("a list does not end")
		}
	}
	return list, nil
}

// scalar reads a string or a number.
func (s *scanner) scalar() (any, error) {
	if s.next('"') {
		var b strings.Builder
		for {
			n := strings.IndexAny(s.rest, `"\`)
			if n < 0 || (s.rest[n] == '\\' && n+1 == len(s.rest)) {
				return nil, fmt.Errorf("a string does not end")
			}
			b.WriteString(s.rest[:n])
			if s.rest[n] == '"' {
				s.rest = s.rest[n+1:]
				return b.String(), nil
			}
			b.WriteByte(s.rest[n+1])
			s.rest = s.rest[n+2:]
		}
	}
	word := s.word()
	number, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%.64q is neither a number nor a string", word)
	}
	return number, nil
}

// The values of a section that have to be there. fail keeps the first that is not.

func (s section) number(name string, fail *error) int64 {
	n, ok := s[name].(int64)
	if (!ok || n < 0) && *fail == nil {
		*fail = fmt.Errorf("%s is no number in the metadata", name)
	}
	return n
}

func (s section) text(name string, fail *error) string {
	text, ok := s[name].(string)
	if !ok && *fail == nil {
		*fail = fmt.Errorf("%s is no string in the metadata", name)
	}
	return text
}

func (s section) section(name string, fail *error) section {
	inner, ok := s[name].(section)
	if !ok && *fail == nil {
		*fail = fmt.Errorf("%s is no section in the metadata", name)
	}
	return inner
}

// strings returns a list of strings, which is not there where it is empty.
func (s section) strings(name string, fail *error) (list []string) {
	values, ok := s[name].([]any)
	if s[name] != nil && !ok && *fail == nil {
		*fail = fmt.Errorf("%s is no list in the metadata", name)
	}
	for _, v := range values {
		text, ok := v.(string)
		if !ok && *fail == nil {
			*fail = fmt.Errorf("%s is no list of strings in the metadata", name)
		}
		list = append(list, text)
	}
	return list
}
