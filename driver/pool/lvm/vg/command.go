package vg

import (
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
