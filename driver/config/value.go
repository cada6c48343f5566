package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// Text returns the text under key, empty where there is no such key. What YAML takes for a number or
// a truth is refused, for it may not be what was written ("node: 010" is 8).
func (s *Section) Text(key string) string {
	raw, ok := s.values[key]
	if !ok {
		return ""
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || raw[0] != '"' {
		s.Wrong(key, "%.64s is not a text: put it in quotes", raw)
		return ""
	}
	if text == "" {
		s.Wrong(key, "is empty: leave the key out, or give it a value")
		return ""
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		s.Wrong(key, "%.128q has a control character", text)
		return ""
	}
	return text
}

// Texts returns the list of texts under key, nil where there is no such key.
func (s *Section) Texts(key string) []string {
	raw, ok := s.values[key]
	if !ok {
		return nil
	}
	var texts []string
	if err := json.Unmarshal(raw, &texts); err != nil || len(texts) == 0 {
		s.Wrong(key, "%.64s is not a list of texts, such as [/dev/sdb, /dev/sdc]", raw)
	}
	return texts
}

// Bool returns the truth under key, false where there is no such key.
func (s *Section) Bool(key string) bool {
	raw, ok := s.values[key]
	if !ok {
		return false
	}
	if string(raw) != "true" && string(raw) != "false" {
		s.Wrong(key, "%.64s is neither true nor false", raw)
	}
	return string(raw) == "true"
}

// Number returns the whole number under key, 0 where there is no such key.
func (s *Section) Number(key string, least, most int64) int64 {
	raw, ok := s.values[key]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < least || n > most {
		s.Wrong(key, "%.64s is not a whole number from %d to %d", raw, least, most)
		return 0
	}
	return n
}

// Ratio returns the number of 1 or more under key, 0 where there is no such key.
func (s *Section) Ratio(key string) float64 {
	raw, ok := s.values[key]
	if !ok {
		return 0
	}
	ratio, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(ratio >= 1) {
		s.Wrong(key, "%.64s is not a number of 1 or more, such as 1.5", raw)
		return 0
	}
	return ratio
}

// Size returns the size under key, which is written with its unit; 0 where there is no such key.
func (s *Section) Size(key string) volume.Size {
	text := s.Text(key)
	if text == "" {
		return 0
	}
	size, err := parseSize(text)
	if err != nil {
		s.Wrong(key, "%w", err)
	}
	return size
}

// parseSize reads a size that is more than nothing and is written with its unit.
func parseSize(text string) (volume.Size, error) {
	size, err := volume.ParseSize(text)
	if err == nil && (size == 0 || strings.Trim(text, "0123456789.") == "") {
		err = fmt.Errorf("%q: write a size with its unit, such as 50Gi", text)
	}
	return size, err
}

// Percent returns the percentage under key, which has to be there.
func (s *Section) Percent(key string) int {
	text := s.Text(key)
	percent, ok := parsePercent(text)
	if !ok && (text != "" || !s.Has(key)) {
		s.Wrong(key, "%.64q is not a percentage from 1%% to 99%%", text)
	}
	return percent
}

// parsePercent reads a percentage from 0% to 99%.
func parsePercent(text string) (int, bool) {
	digits, ok := strings.CutSuffix(text, "%")
	if !ok || digits == "" || len(digits) > 2 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	percent, err := strconv.Atoi(digits)
	return percent, err == nil
}
