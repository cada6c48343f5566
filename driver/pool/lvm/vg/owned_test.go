package vg

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/vgtest"
	"github.com/loam-storage/loam/driver/volume"
)

const groupUUID, lvUUID = "0123456789abcdef0123456789abcdef", "abcdef0123456789abcdef0123456789"

func TestDevicesOfLoamAndWhatLiesOnThem(t *testing.T) {
	n := func(minor uint32) host.DeviceNumber { return host.DeviceNumber{Major: 1, Minor: minor} }
	dm := func(minor uint32, name, uuid string, below ...uint32) host.BlockDevice {
		d := host.BlockDevice{Name: name, Number: n(minor), MapperName: name, MapperUUID: uuid}
		for _, b := range below {
			d.Below = append(d.Below, n(b))
		}
		return d
	}
	logical := "LVM-" + groupUUID + lvUUID
	file := func(minor uint32, f host.BackingFile) host.BlockDevice {
		return host.BlockDevice{Name: f.Path, Number: n(minor), File: &f}
	}
	elsewhere := host.FileID{Device: 1, Inode: 1}
	all := []host.BlockDevice{
		dm(1, "vg0-root", logical), dm(2, "luks-on-root", "CRYPT-LUKS2-x", 1), {Name: "sda", Number: n(3)},
		{Name: "sda1", Number: n(4), Below: []host.DeviceNumber{n(3)}}, dm(5, "mpatha", "mpath-x", 3),
		dm(6, "loam.fast.v.a", ""), // a tenant's dm device has no UUID of LVM, nor can a tenant make one
		file(7, host.BackingFile{Path: "/srv/disk0", ID: elsewhere}),
		// Those of loam.
		dm(20, "vg--1-loam.fast.v.a", logical), dm(21, "vg--1-loam.fast.v.a-real", logical+"-real"), dm(22, "vg0-tp_tdata", logical+"-tdata"),
		dm(23, "vg--1-loam.fast.v.b_rimage_0", logical),
		dm(24, "luks", "CRYPT-LUKS2-y", 20), {Name: "md0", Number: n(25), Below: []host.DeviceNumber{n(24)}}, {Name: "md0p1", Number: n(26), Below: []host.DeviceNumber{n(25)}},
		file(27, host.BackingFile{Path: "/p/volumes/a/image", ID: elsewhere}), file(28, host.BackingFile{Path: "/p/groups/g/m/image", ID: elsewhere}),
		file(29, host.BackingFile{Path: "/p/new/x/image", ID: elsewhere, Deleted: true}), file(30, host.BackingFile{Path: "/p/filesystem", ID: elsewhere}),
		file(31, host.BackingFile{Path: "/p/filesystem.new", ID: elsewhere}), file(32, host.BackingFile{Path: "/p/snapshots/s/image"}),
		file(33, host.BackingFile{Path: "/net/disk", Hung: true}), file(34, host.BackingFile{Path: "/data/disk", Hidden: true}),
		dm(35, "vg0-theirs", "LVM-"+groupUUID+groupUUID),
	}
	// A loop device in a file of a file system on a volume, seen before that.
	all = slices.Insert(all, 0, host.BlockDevice{Name: "loop9", Number: n(36), Below: []host.DeviceNumber{n(26)}, File: &host.BackingFile{Path: "/mnt/f", ID: elsewhere}})
	why := owned(all, map[string]bool{groupUUID + groupUUID: true})
	for _, d := range all {
		if got, want := why[d.Number] != "", d.Number.Minor >= 20; got != want {
			t.Errorf("%s is left out: %t, because %q", d.Name, got, why[d.Number])
		}
	}
	if len(why) != 17 {
		t.Errorf("left out are %v", slices.Sorted(maps.Values(why)))
	}
}

func TestFilesOfLoopPools(t *testing.T) {
	root := t.TempDir()
	make := func(parts ...string) string {
		path := filepath.Join(append([]string{root}, parts...)...)
		must := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600))
		if must != nil {
			t.Fatal(must)
		}
		return path
	}
	ours := []string{
		make("a", "volumes", "x", "image"), make("b", "snapshots", "x", "image"), make("pool", "volumes", "x", "image"),
		make("pool", "new", "y", "image"), make("pool", "groups", "g", "m", "image"), make("own", "filesystem"), make("own", "filesystem.new"),
	}
	make("a", "volumes", "x", "volume.json")
	make("b", "snapshots", "x", "snapshot.json")
	make("pool", "snapshots", "s", "image")
	make("own", "lock")
	theirs := []string{
		make("c", "volumes", "x", "image"), make("d", "filesystem"), make("pool", "volumes", "x", "disk"), make("pool", "disk"), make("e", "image"),
	}
	for _, path := range append(slices.Clone(ours), theirs...) {
		id, _, err := host.Identify(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := isLoamFile(host.BackingFile{Path: path, ID: id}), slices.Contains(ours, path); got != want {
			t.Errorf("%s is loam's: %t", path, got)
		}
	}
	// Another file is there now: the name decides.
	id, _, _ := host.Identify(theirs[3])
	if !isLoamFile(host.BackingFile{Path: theirs[0], ID: id}) || isLoamFile(host.BackingFile{Path: theirs[4], ID: id}) {
		t.Error("a file that cannot be seen is not judged by its name")
	}
}

func TestNamesOfMappedDevicesComeApart(t *testing.T) {
	for _, c := range [][2]string{{"vg0", "loam.fast.v.a"}, {"vg-1", "loam.f-a-st.v.a-"}, {"a-b-c", "x-y"}} {
		if group, lv := pool.SplitMapped(MappedName(c[0], c[1])); group != c[0] || lv != c[1] {
			t.Errorf("%q became %q and %q", c, group, lv)
		}
	}
	if group, lv := pool.SplitMapped("plain"); group != "" || lv != "plain" {
		t.Errorf("a name without a hyphen became %q and %q", group, lv)
	}
}

// A long list is given in parts, each of which the kernel takes.
func TestManyDevicesAreGivenToLVM(t *testing.T) {
	var paths []string
	for range 5000 {
		paths = append(paths, "/dev/nvme1000n1p100")
	}
	args := devicesArgs(paths)
	var got []string
	for i, a := range args {
		if len(a) > 1<<17 || i%2 == 0 && a != "--devices" {
			t.Fatalf("argument %d is %.20q, of %d bytes", i, a, len(a))
		}
		if i%2 == 1 {
			got = append(got, strings.Split(a, ",")...)
		}
	}
	if !slices.Equal(got, paths) {
		t.Errorf("%d devices became %d", len(paths), len(got))
	}
}

// A disk that does not answer holds nobody, and hides nothing.
func TestADiskThatHangsHidesNoOther(t *testing.T) {
	v := fakeGroup(t, &vgtest.LVM{Disks: []string{"/dev/vda"}}, Options{})
	hangs := make(chan struct{})
	defer close(hangs)
	v.Disks.Open = func(string) (metadata.Disk, error) { <-hangs; return nil, errors.New("it is gone") }
	v.Disks.All = func(context.Context) ([]host.BlockDevice, error) {
		below := host.DeviceNumber{Major: 254}
		return []host.BlockDevice{
			{Name: "vda", Path: "/dev/vda", Number: below, SizeBytes: volume.GiB},
			{Name: "dm-0", Path: "/dev/dm-0", Number: host.DeviceNumber{Major: 253}, SizeBytes: volume.GiB, MapperName: "other-root", MapperUUID: "LVM-" + groupUUID + lvUUID, Below: []host.DeviceNumber{below}},
		}, nil
	}
	c, err := v.candidates(t.Context())
	if err != nil || !slices.Equal(c.paths, []string{"/dev/vda", "/dev/dm-0"}) || len(c.left) != 0 {
		t.Errorf("the candidates are %+v, %v", c, err)
	}
}
