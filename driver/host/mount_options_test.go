package host_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// withValue has a value for each option that takes one.
var withValue = map[string]string{
	"context": "context=system_u:object_r:tmp_t:s0", "fscontext": "fscontext=system_u:object_r:tmp_t:s0", "defcontext": "defcontext=system_u:object_r:tmp_t:s0",
	"rootcontext": `rootcontext="system_u:object_r:tmp_t:s0:c1,c2"`,
	"resgid":      "resgid=1", "resuid": "resuid=1", "commit": "commit=7", "inode_readahead_blks": "inode_readahead_blks=32", "stripe": "stripe=4",
	"max_batch_time": "max_batch_time=10", "min_batch_time": "min_batch_time=1", "max_dir_size_kb": "max_dir_size_kb=1000", "check": "check=none",
	"errors": "errors=remount-ro", "data": "data=writeback", "data_err": "data_err=abort", "jqfmt": "jqfmt=vfsv1", "mb_optimize_scan": "mb_optimize_scan=1",
	"journal_ioprio": "journal_ioprio=3", "usrjquota": "usrjquota=aquota.user", "grpjquota": "grpjquota=aquota.group",
	"sunit": "sunit=0", "swidth": "swidth=0", "max_open_zones": "max_open_zones=4", "allocsize": "allocsize=64k", "logbsize": "logbsize=64k",
	"max_atomic_write": "max_atomic_write=4k", "logbufs": "logbufs=4",
	"metadata_ratio": "metadata_ratio=4", "thread_pool": "thread_pool=2", "max_inline": "max_inline=1k", "rescue": "rescue=usebackuproot",
}

// What can be given must do what it says to this file system and nothing else, whatever this kernel
// knows of it, and what it does when mount(8) hands it on: with each option that it takes, the volume's own device is mounted once, whole, for
// writing unless the option is "ro", and no further device or mount is there.
func TestEachMountOptionThatCanBeGivenConcernsThisMountOnly(t *testing.T) {
	h := host.New(host.NewRunner())
	for _, fsType := range volume.FSTypes() {
		path, target := device(t, 320*volume.MiB), t.TempDir()
		if err := h.Format(t.Context(), path, host.Format{Type: fsType}); err != nil {
			t.Fatal(err)
		}
		taken := 0
		for _, name := range append(volume.MountOptions(""), volume.MountOptions(fsType)...) {
			option := name
			if withValue[name] != "" {
				option = withValue[name]
			}
			if err := volume.CheckMountOptions([]string{option}, fsType); err != nil {
				t.Errorf("%s: %v", fsType, err)
				continue
			}
			loops := loopDevices(t, path)
			want := byMount8(t, h, path, target, fsType, []string{option})
			err := h.Mount(t.Context(), path, target, fsType, []string{option})
			if (err == nil) != (want != "") {
				t.Errorf("%s with %s: %v; by mount(8) it is %q", fsType, option, err, want)
			}
			if err != nil {
				continue // this kernel, or this file system as it is, does not take it
			}
			taken++
			info, err := mountinfo.GetMounts(mountinfo.PrefixFilter(filepath.Dir(target)))
			if err != nil || len(info) != 1 || info[0].Mountpoint != target || info[0].Source != path || info[0].Root != "/" ||
				slices.Contains(strings.Split(info[0].Options, ","), "ro") != (option == "ro") || !sameSharing(t, info[0].Optional) {
				t.Errorf("%s with %s: %+v, %v", fsType, option, info, err)
			}
			if got := unmounted(t, h, target); got != want {
				t.Errorf("%s with %s is mounted as\n%q, by mount(8) as\n%q", fsType, option, got, want)
			}
			if now := loopDevices(t, path); !slices.Equal(now, loops) {
				t.Errorf("%s with %s: the loop devices on files of this test were %q and are %q", fsType, option, loops, now)
			}
		}
		if taken < 40 {
			t.Errorf("%s was mounted with %d of the options only", fsType, taken)
		}
		t.Logf("%s: the kernel takes %d options", fsType, taken)
	}
}

// sameSharing reports whether a new mount is shared with others as a mount without options is: as its parent.
func sameSharing(t *testing.T, optional string) bool {
	t.Helper()
	root, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter("/"))
	if err != nil || len(root) != 1 {
		t.Fatal(root, err)
	}
	return strings.HasPrefix(optional, "shared:") == strings.HasPrefix(root[0].Optional, "shared:")
}

// loopDevices names the loop devices on files of this package, or on a device.
func loopDevices(t *testing.T, device string) (all []string) {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && (strings.HasPrefix(string(text), os.TempDir()) || strings.TrimSpace(string(text)) == device) {
			all = append(all, strings.Split(file, "/")[3]+" on "+string(text))
		}
	}
	return all
}

// Which of several options counts is what Access.ReadOnly says.
func TestReadOnlyIsWhatTheKernelMakesOfTheOptions(t *testing.T) {
	h, path, target := host.New(host.NewRunner()), device(t, 16*volume.MiB), t.TempDir()
	if err := h.Format(t.Context(), path, host.Format{Type: volume.Ext4}); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]string{
		{"ro"}, {"rw"}, {"ro", "defaults"}, {"defaults", "ro"}, {"defaults"}, {"ro", "sync", "noload"}, {"errors=remount-ro"}, {"rw", "relatime"}, {"ro", "ro"},
		{"norecovery"}, {"ro", `context="a:b:c:s0:c1,c2"`, "noatime"},
	} {
		if err := volume.CheckMountOptions(options, volume.Ext4); err != nil {
			t.Fatal(err)
		}
		if err := h.Mount(t.Context(), path, target, volume.Ext4, options); err != nil {
			t.Errorf("%q: %v", options, err)
			continue
		}
		mounts, err := h.Mounts()
		i := slices.IndexFunc(mounts, func(m host.Mount) bool { return m.Target == target })
		if err != nil || i < 0 || mounts[i].ReadOnly != (volume.Access{MountOptions: options}).ReadOnly() {
			t.Errorf("%q: %+v, %v", options, mounts, err)
		}
		if err := h.Unmount(t.Context(), target); err != nil {
			t.Fatal(err)
		}
	}
}
