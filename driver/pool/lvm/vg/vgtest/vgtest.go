// Package vgtest answers commands as LVM would, for tests that are about which commands are run.
package vgtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
	"github.com/loam-storage/loam/driver/volume"
)

// LVM is a host.Runner that shows a volume group of some logical volumes on some disks, and does with other commands what
// its change says.
type LVM struct {
	sync.Mutex
	Disks    []string
	LVs      []string // rows of the report
	Change   func(f *LVM, args []string) error
	Commands [][]string
	Gate     chan struct{} // a report waits for it, where it is not nil
	Locks    string        // the directory that LVM has its locks in
}

// Run answers a command.
func (f *LVM) Run(_ context.Context, c host.Command) ([]byte, error) {
	if c.Args[0] == "lvmconfig" {
		return fmt.Appendf(nil, "locking_dir=%q\n", f.Locks), nil
	}
	f.Lock()
	f.Commands = append(f.Commands, c.Args)
	gate := f.Gate
	f.Unlock()
	if c.Name != "lvm" || c.Timeout <= 0 || c.Timeout > 15*time.Minute || c.Args[1] != "--config" {
		return nil, volume.Errorf(volume.Internal, "a command without a deadline or its settings: %+v", c)
	}
	if c.Args[0] == "pvs" {
		return f.pvs(c.Args), nil
	}
	if c.Args[0] != "fullreport" {
		f.Lock()
		defer f.Unlock()
		return []byte("  done\n"), f.Change(f, c.Args)
	}
	if gate != nil {
		<-gate
	}
	f.Lock()
	defer f.Unlock()
	var pvs []string
	for _, d := range f.Disks {
		pvs = append(pvs, fmt.Sprintf(`{"pv_name":%q, "pv_attr":"a--", "pv_pe_count":"100", "pv_pe_alloc_count":"0"}`, d))
	}
	missing := 0
	if i := slices.Index(c.Args, "--devices"); i > 0 {
		missing = len(f.Disks) - len(strings.Split(c.Args[i+1], ","))
	}
	return fmt.Appendf(nil, `{"report":[{"vg":[{"vg_name":"vg0","vg_extent_size":"1048576","vg_attr":"wz--n-","vg_missing_pv_count":"%d"}],"pv":[%s],"lv":[%s],"seg":[]}]}`,
		missing, strings.Join(pvs, ","), strings.Join(f.LVs, ",")), nil
}

// pvs answers which disks have the name of the group, of those that LVM may look at.
func (f *LVM) pvs(args []string) []byte {
	f.Lock()
	defer f.Unlock()
	var rows []string
	for i, d := range f.Disks {
		if slices.Contains(strings.Split(args[slices.Index(args, "--devices")+1], ","), d) {
			rows = append(rows, fmt.Sprintf(`{"pv_name":%q, "pv_uuid":"disk%d", "vg_uuid":"group"}`, d, i))
		}
	}
	return fmt.Appendf(nil, `{"report":[{"pv":[%s]}]}`, strings.Join(rows, ","))
}

// Open opens no disk, so LVM is asked.
func (f *LVM) Open(string) (metadata.Disk, error) {
	return nil, errors.New("there is no disk behind this one")
}

// Flush does nothing.
func (f *LVM) Flush(string) error { return nil }

// BlockDevices are the disks, and one that is somebody else's.
func (f *LVM) BlockDevices(context.Context) (all []host.BlockDevice, err error) {
	f.Lock()
	defer f.Unlock()
	for i, d := range append([]string{"/dev/other"}, f.Disks...) {
		all = append(all, host.BlockDevice{Name: strings.TrimPrefix(d, "/dev/"), Path: d, Number: host.DeviceNumber{Major: 254, Minor: uint32(i)}, SizeBytes: volume.GiB})
	}
	return all, nil
}

// Made adds the logical volume that an lvcreate asks for to the report.
func (f *LVM) Made(args []string) {
	var tags []string
	for i, a := range args {
		if a == "--addtag" {
			tags = append(tags, args[i+1])
		}
	}
	value := func(flag string) string { return args[slices.Index(args, flag)+1] }
	f.LVs = append(f.LVs, fmt.Sprintf(`{"lv_name":%q,"lv_size":%q,"lv_attr":"-wi-------","lv_tags":%q}`, value("--name"), strings.TrimSuffix(value("--size"), "b"), strings.Join(tags, ",")))
}

// Names returns the names of the commands that were run.
func (f *LVM) Names() (names []string) {
	for _, c := range f.Commands {
		names = append(names, c[0])
	}
	return names
}

// Failed is the error of a command that LVM has ended.
func Failed() error { return &host.ExitError{Command: "lvm", Code: 5, Stderr: "it says something"} }
