// Package vg is a volume group of LVM: what is in it, and the commands that change it.
//
// What is there is read from the metadata on the disks, without a process (read.go): a Layout. LVM itself is asked for what only it
// and the kernel know, and where a command did not do what it was to do (report.go): a Report. A command is run in one place
// (run.go), which sees to it that all disks are there, that a thin pool and LVM agree, that what it has written is on the disks,
// and that a command that was cut off leaves nothing suspended.
package vg

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
)

// Options say which volume group it is, and who works with it.
type Options struct {
	Name     string
	Pool     string   // the pool that it is for, in the words of errors
	Devices  []string // paths of the disks that may be looked at; none: all
	Create   bool     // the Devices are those to make the group of, and others may have come to it since
	ThinPool string   // that is worked in; empty: none
	Machine  *host.Host
	Runner   host.Runner     // starts the commands
	Ours     func(LV) bool   // whose devices are mended after a command that was cut off
	Reported func(r *Report) // is called with what LVM reports, where it is not nil
}

// Group is a volume group. It is safe for concurrent use.
type Group struct {
	of   Options
	thin *ThinPool // nil where no thin pool is worked in

	Disks Disks // set before the first use

	onDisk   metadata.Reader
	reports  shared[*Report]
	reads    shared[*Layout]
	lastRead translated
	expected atomic.Pointer[expectation]

	fallbacks atomic.Int64

	seen  sync.Mutex
	disks []string // of the group, when it was last seen
	uuid  string   // of the group, when it was first seen
	locks string   // the directory that LVM has its locks in; empty until it was asked for
}

// Disks is how a volume group gets at disks.
type Disks struct {
	Open  func(path string) (metadata.Disk, error) // so that the disk is read itself, and not what the page cache has of it
	Flush func(path string) error
	All   func(context.Context) ([]host.BlockDevice, error) // block devices of the machine
}

// expectation is what a group that is read has to be.
type expectation struct{ check func(*Layout) error }

// New returns the volume group, which may not be there yet.
func New(o Options) *Group {
	v := &Group{of: o}
	v.Disks = Disks{
		Open:  func(path string) (metadata.Disk, error) { return host.OpenDirect(path) },
		Flush: host.FlushDevice, All: o.Machine.BlockDevices,
	}
	v.onDisk.Open = func(path string) (metadata.Disk, error) { return v.Disks.Open(path) }
	if o.ThinPool != "" {
		v.thin = &ThinPool{group: v, name: o.ThinPool}
	}
	return v
}

// Expect has each read and report fail whose layout the check refuses.
func (v *Group) Expect(check func(*Layout) error) { v.expected.Store(&expectation{check}) }

// Thin returns the thin pool that is worked in, nil where there is none.
func (v *Group) Thin() *ThinPool { return v.thin }

// Fallbacks is how often LVM was asked for what could not be read.
func (v *Group) Fallbacks() int64 { return v.fallbacks.Load() }

// Mapped returns the name of the device-mapper device of a logical volume.
func (v *Group) Mapped(name string) string { return MappedName(v.of.Name, name) }

// Device returns the device of a logical volume, and whether it is active. It starts no process.
func (v *Group) Device(name string) (host.Mapped, bool, error) {
	all, err := v.of.Machine.MappedDevices()
	d, ok := all[v.Mapped(name)]
	return d, ok, err
}

// Flush has the disks of the group write what their caches hold.
func (v *Group) Flush() error { return v.flush(v.scanned()) }

// ReadOnly returns the setting that makes LVM activate logical volumes read-only, without a word of it in their metadata; empty
// for none.
func (v *Group) ReadOnly(lvs ...string) string {
	if len(lvs) == 0 {
		return ""
	}
	quoted := make([]string, len(lvs))
	for i, name := range lvs {
		quoted[i] = fmt.Sprintf("%q", v.of.Name+"/"+name)
	}
	return "activation/read_only_volume_list=[" + strings.Join(quoted, ",") + "]"
}

// MappedName returns the name that LVM gives the device of a logical volume: hyphens in names are
// doubled, and a single one is between them.
func MappedName(group, lv string) string {
	return strings.ReplaceAll(group, "-", "--") + "-" + strings.ReplaceAll(lv, "-", "--")
}
