package vg

import (
	"fmt"
	"strings"
)

// Select names the logical volumes that a command is for by what has to be true of them, and LVM itself looks whether it is. So one
// that is not ours, or that was changed since it was read, is never touched. A command that finds none does nothing, and ends
// with 0: whether it did something is read back.
type Select struct {
	Names []string // it has one of them
	Like  string   // its name matches this regular expression
	Tags  []string // it has all of them
	Any   []string // it has one of them
	Not   string   // it has not this tag
	Group string   // its volume group has this tag
	Is    Is
}

// Is is what a selected logical volume has to be, beside its name and tags.
type Is int

// What can be asked for.
const (
	Whatever         Is = iota
	Writable            // in the metadata
	ReadOnly            // in the metadata
	WithoutSnapshots    // no copy-on-write ones
)

// Only selects the logical volume of that name, if it has all the tags.
func Only(name string, tags ...string) Select { return Select{Names: []string{name}, Tags: tags} }

// text writes the selection as lvmreport(7) has it.
func (s Select) text(group string) string {
	all := []string{equal("vg_name", group)}
	if len(s.Names) > 0 {
		all = append(all, oneOf("lv_name", s.Names))
	}
	if s.Like != "" {
		all = append(all, `lv_name=~"`+s.Like+`"`)
	}
	for _, tag := range s.Tags {
		all = append(all, equal("lv_tags", tag))
	}
	if len(s.Any) > 0 {
		all = append(all, oneOf("lv_tags", s.Any))
	}
	if s.Not != "" {
		all = append(all, fmt.Sprintf("lv_tags!=%q", s.Not))
	}
	if s.Group != "" {
		all = append(all, equal("vg_tags", s.Group))
	}
	switch s.Is {
	case Writable:
		all = append(all, `lv_attr=~"^.w"`)
	case ReadOnly:
		all = append(all, `lv_attr=~"^.r"`)
	case WithoutSnapshots:
		all = append(all, `lv_attr!~"^[oO]"`)
	case Whatever:
	}
	return strings.Join(all, " && ")
}

// tagged reports whether it relies on a tag.
func (s Select) tagged() bool { return len(s.Tags)+len(s.Any) > 0 || s.Group != "" }

func equal(field, value string) string { return fmt.Sprintf("%s=%q", field, value) }

func oneOf(field string, values []string) string {
	all := make([]string, len(values))
	for i, value := range values {
		all[i] = equal(field, value)
	}
	if len(all) == 1 {
		return all[0]
	}
	return "(" + strings.Join(all, " || ") + ")"
}
