package vg

import (
	"fmt"
	"slices"
	"strings"
)

// Command is a command of LVM that is for logical volumes of the group, or for the group itself.
type Command struct {
	Name     string // such as "lvchange"
	Flags    []string
	Select   *Select  // the logical volumes that it is for
	Of       string   // or the one, by its name; neither: the group
	On       []string // the disks or ranges of them that it may take; none: any
	Settings string   // of lvm.conf, as settings takes them
	Makes    Select   // what an lvcreate makes
}

// Tag changes tags.
func Tag(s Select, add, del []string) Command {
	c := Command{Name: "lvchange", Select: &s}
	for _, tag := range add {
		c.Flags = append(c.Flags, "--addtag", tag)
	}
	for _, tag := range del {
		c.Flags = append(c.Flags, "--deltag", tag)
	}
	return c
}

// Activate makes devices appear. Only for a merge may LVM leave a process behind, which ends with it: of what is moved
// (pvmove), each activation would leave one more until the move has ended.
func Activate(s Select, merging bool) Command {
	c := activate(merging)
	c.Select = &s
	return c
}

func activate(merging bool) Command {
	poll := "n"
	if merging {
		poll = "y"
	}
	return Command{Name: "lvchange", Flags: []string{"--activate", "y", "--ignoreactivationskip", "--poll", poll}}
}

// Deactivate makes devices go.
func Deactivate(s Select) Command {
	return Command{Name: "lvchange", Flags: []string{"--activate", "n"}, Select: &s}
}

// Permit changes the permission in the metadata.
func Permit(s Select, writable bool) Command {
	permission := "r"
	if writable {
		permission = "rw"
	}
	return Command{Name: "lvchange", Flags: []string{"--permission", permission}, Select: &s}
}

// Remove removes logical volumes. What is selected has to rely on a tag.
func Remove(s Select) Command {
	return Command{Name: "lvremove", Flags: []string{"--force"}, Select: &s}
}

// Discard has LVM discard what it removes, where the disks can.
func (c Command) Discard() Command {
	c.Settings = strings.TrimSpace(discard + " " + c.Settings)
	return c
}

// args returns what follows the name of the command, for the group of that name.
func (c Command) args(group string) []string {
	switch {
	case c.Select != nil:
		return slices.Concat(c.Flags, []string{"--select", c.Select.text(group), group}, c.On)
	case c.Of != "":
		return slices.Concat(c.Flags, []string{group + "/" + c.Of}, c.On)
	}
	return slices.Concat(c.Flags, []string{group}, c.On)
}

// lv returns the logical volume that it is for, empty where that is none or more than one.
func (c Command) lv() string {
	if c.Select != nil && len(c.Select.Names) > 0 {
		return c.Select.Names[0]
	}
	return c.Of
}

// changes reports whether the command writes the metadata of the group.
func (c Command) changes() bool {
	switch c.Name {
	case "lvcreate", "lvextend", "lvremove", "vgchange":
		return true
	case "lvchange":
		return !slices.Contains(c.Flags, "--activate")
	}
	return false
}

// activates reports whether the command makes devices appear.
func (c Command) activates() bool {
	i := slices.Index(c.Flags, "--activate")
	return c.Name == "lvchange" && i >= 0 && c.Flags[i+1] == "y"
}

// takes reports whether the command takes extents.
func (c Command) takes() bool { return c.Name == "lvcreate" || c.Name == "lvextend" }

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
