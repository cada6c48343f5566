package host_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// What an option comes to must be what mount(8) makes of it, which hands all of them to mount(2) at once: the same line in the mount table.
func TestMountTableHasWhatMount8WouldShow(t *testing.T) {
	h := host.New(host.NewRunner())
	together := map[volume.FSType][][]string{
		"": {
			nil, {"noatime", "strictatime"}, {"strictatime", "noatime"}, {"noatime", "relatime"}, {"relatime", "nodiratime"}, {"nosuid", "nodev", "noexec"},
			{"ro", "defaults", "lazytime"}, {"defaults", "ro"}, {"sync", "dirsync", "nosymfollow"}, {"rw", "silent", "noatime"},
			{`context="system_u:object_r:tmp_t:s0:c1,c2"`, "nodiratime", "noexec"},
		},
		volume.Ext4:  {{"iversion", "errors=remount-ro", "commit=60", "data=journal"}, {"ro", "noload"}, {"init_itable", "barrier=0", "discard"}},
		volume.XFS:   {{"nouuid", "allocsize=64k", "logbsize=256k", "logbufs=8", "iversion"}, {"ro", "norecovery", "nouuid"}},
		volume.Btrfs: {{"compress=zstd:3", "discard=async", "iversion"}, {"compress"}, {"compress=no"}, {"ro", "rescue=nologreplay"}},
	}
	for _, fsType := range volume.FSTypes() {
		path, target := device(t, 320*volume.MiB), t.TempDir()
		if err := h.Format(t.Context(), path, host.Format{Type: fsType}); err != nil {
			t.Fatal(err)
		}
		for _, options := range slices.Concat(together[""], together[fsType]) {
			if err := volume.CheckMountOptions(options, fsType); err != nil {
				t.Fatal(err)
			}
			want := byMount8(t, h, path, target, fsType, options)
			err := h.Mount(t.Context(), path, target, fsType, options)
			if got := unmounted(t, h, target); err != nil || got != want {
				t.Errorf("%s with %q is mounted as\n%q, %v; by mount(8) as\n%q", fsType, options, got, err, want)
			}
		}
	}
}

// byMount8 returns what the mount table says of a file system that mount(8) mounts with the options, empty where it cannot.
func byMount8(t *testing.T, h *host.Host, device, target string, fsType volume.FSType, options []string) string {
	t.Helper()
	c := exec.Command("mount", "-t", string(fsType), "-o", strings.Join(append([]string{"defaults"}, options...), ","), device, target)
	c.Env = append(os.Environ(), "LIBMOUNT_FORCE_MOUNT2=always") // util-linux 2.39 and later would call what Mount calls
	said, err := c.CombinedOutput()
	table := unmounted(t, h, target)
	if (err == nil) != (table != "") {
		t.Errorf("mount(8), %s with %q: %v %s; it is %q", fsType, options, err, said, table)
	}
	return table
}

// unmounted unmounts what is mounted at a path, and returns what the mount table said of it.
func unmounted(t *testing.T, h *host.Host, target string) string {
	t.Helper()
	info, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(target))
	if err != nil {
		t.Fatal(err)
	}
	if len(info) == 0 {
		return ""
	}
	if err := h.Unmount(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	m := info[0]
	shared, _, _ := strings.Cut(m.Optional, ":")
	return strings.Join([]string{m.Root, m.Options, shared, m.FSType, m.Source, m.VFSOptions}, " ")
}

// A mount that fails says which option or what else it was, with the words of the kernel, and nobody's values.
func TestAMountThatFailsSaysWhy(t *testing.T) {
	h, path, target := host.New(host.NewRunner()), device(t, 16*volume.MiB), t.TempDir()
	if err := h.Format(t.Context(), path, host.Format{Type: volume.Ext4}); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	const secret = "a-secret-of-somebody"
	for _, c := range []struct {
		fsType  volume.FSType
		options []string
		kind    volume.Kind
		says    []string
	}{
		{volume.Ext4, []string{"noatime", "no-such-option=" + secret}, volume.Internal, []string{`option "no-such-option"`, "Unknown parameter"}},
		{volume.Ext4, []string{"commit=" + secret}, volume.Internal, []string{`option "commit"`, "invalid argument"}},
		{volume.XFS, []string{"nouuid"}, volume.Internal, []string{"xfs", path, "dmesg"}},
		{"no-such-fs", nil, volume.Internal, []string{"no such device"}},
	} {
		err := h.Mount(t.Context(), path, target, c.fsType, c.options)
		if volume.KindOf(err) != c.kind || strings.Contains(err.Error(), secret) {
			t.Errorf("%s with %q: %v of kind %s", c.fsType, c.options, err, volume.KindOf(err))
		}
		t.Logf("%s with %q: %v", c.fsType, c.options, err)
		for _, says := range append(c.says, target) {
			if err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s with %q: %v, without %q", c.fsType, c.options, err, says)
			}
		}
	}
	if got := unmounted(t, h, target); got != "" {
		t.Errorf("mounted: %s", got)
	}
	if after := open(); after != before {
		t.Errorf("%d files were open, and %d are", before, after)
	}
}

// move_mount(2) would put one over the other, of which mount(2) says EBUSY.
func TestAFileSystemIsNotMountedTwiceAtOnePlace(t *testing.T) {
	h, path, target := host.New(host.NewRunner()), device(t, 16*volume.MiB), t.TempDir()
	if err := h.Format(t.Context(), path, host.Format{Type: volume.Ext4}); err != nil {
		t.Fatal(err)
	}
	if err := h.Mount(t.Context(), path, target, volume.Ext4, nil); err != nil {
		t.Fatal(err)
	}
	if err := h.Mount(t.Context(), path, target, volume.Ext4, nil); !volume.Is(err, volume.Busy) {
		t.Errorf("mounted again: %v", err)
	}
	below := filepath.Join(target, "below")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.Mount(t.Context(), path, below, volume.Ext4, nil); err != nil { // as mount(8) does
		t.Error(err)
	}
	for _, at := range []string{below, target} {
		if unmounted(t, h, at) == "" {
			t.Errorf("%s is not mounted", at)
		}
	}
	if got := unmounted(t, h, target); got != "" {
		t.Errorf("still mounted: %s", got)
	}
}

// The number of a mapped device is another one after the next start of the machine.
func TestTheMountTableNamesAMappedDevice(t *testing.T) {
	hosttest.NeedsRoot(t)
	if out, err := exec.Command("dmsetup", "version").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this machine has no device-mapper: %v %s", err, out)
	}
	t.Setenv("DM_DISABLE_UDEV", "1")
	h, below, target, name := host.New(host.NewRunner()), device(t, 64*volume.MiB), t.TempDir(), "loam-test-mount"
	command(t, "dmsetup", "create", name, "--table", fmt.Sprintf("0 %d linear %s 0", 64*volume.MiB/512, below))
	t.Cleanup(func() { command(t, "dmsetup", "remove", "--retry", name) })
	mapped, err := h.MappedDevices()
	if err != nil || mapped[name].Device == "" {
		t.Fatal(mapped, err)
	}
	path := mapped[name].Device
	if err := h.Format(t.Context(), path, host.Format{Type: volume.Ext4}); err != nil {
		t.Fatal(err)
	}
	want := byMount8(t, h, path, target, volume.Ext4, nil)
	if !strings.Contains(want, "/dev/mapper/"+name) {
		t.Errorf("mount(8) shows %q", want)
	}
	if err := h.Mount(t.Context(), path, target, volume.Ext4, nil); err != nil {
		t.Fatal(err)
	}
	if got := unmounted(t, h, target); got != want {
		t.Errorf("it is mounted as %q, by mount(8) as %q", got, want)
	}
}
