package lvm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// editGroup restores the metadata of the group, edited.
func editGroup(t *testing.T, old, with string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "metadata")
	runLVM(t, "vgcfgbackup", "--file", file, vg)
	text, err := os.ReadFile(file)
	must(t, err)
	edited := strings.Replace(string(text), old, with, 1)
	if edited == string(text) {
		t.Fatalf("there is no %q in\n%s", old, text)
	}
	must(t, os.WriteFile(file, []byte(edited), 0o600))
	runLVM(t, "vgcfgrestore", "--file", file, vg)
}

// A group that LVM does not show, for a reason that it says only among its warnings, is named with that reason and what to do, by a
// pool that is open and by one that is to be opened.
func TestAGroupThatLVMDoesNotShow(t *testing.T) {
	volumeGroup(t, 1)
	disk := allDisks()[0]
	config := lvm.Config{VolumeGroup: vg}
	for _, c := range []struct {
		what     string
		do, undo func()
		says     []string
	}{
		{"of another machine", func() { runLVM(t, "vgchange", "--yes", "--systemid", "other", vg) },
			func() {
				run(t, "lvm", "vgchange", "--config", settings+` global/system_id_source="lvmlocal" local/system_id="other"`, "--yes", "--systemid", "", vg)
			}, []string{`system ID "other"`, "lvmsystemid(7)"}},
		{"clustered", func() { editGroup(t, `"RESIZEABLE"`, `"RESIZEABLE", "CLUSTERED"`) },
			func() { runLVM(t, "vgchange", "--yes", "--lock-type", "none", "--lock-opt", "force", vg) }, []string{"share", "vgchange --lock-type none"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := open(t, config, host.NewRunner())
			c.do()
			defer c.undo()
			says(t, "Create", second(p.Create(t.Context(), spec("a", 8*volume.MiB))), volume.Unavailable, append(c.says, disk)...)
			_, err := p.Status(t.Context())
			says(t, "Status", err, volume.Unavailable, append(c.says, disk)...)
			must(t, p.Close())
			_, err = lvm.Open(t.Context(), poolName, node, config, host.New(host.NewRunner()), host.NewRunner())
			says(t, "Open", err, volume.Unavailable, append(c.says, disk)...)
		})
	}
	t.Run("renamed", func(t *testing.T) {
		p := open(t, config, host.NewRunner())
		defer p.Close()
		runLVM(t, "vgrename", vg, "elsewhere")
		defer runLVM(t, "vgrename", "elsewhere", vg)
		says(t, "Create", second(p.Create(t.Context(), spec("a", 8*volume.MiB))), volume.Unavailable, disk, `"elsewhere"`, "vgrename")
	})
}

// Names of disks change from one start of the machine to the next. A configuration that names them so is told where the group is now.
func TestNamesOfDisksThatHaveSwapped(t *testing.T) {
	disks := testDisks(t, 3)
	volumeGroup(t, 2)
	config := lvm.Config{VolumeGroup: vg, Devices: disks[:2]}
	must(t, open(t, config, host.NewRunner()).Close())
	config.Devices = []string{disks[2]}
	_, err := lvm.Open(t.Context(), poolName, node, config, host.New(host.NewRunner()), host.NewRunner())
	says(t, "Open with none of its disks", err, volume.Unavailable, disks[2], disks[0]+", "+disks[1], "/dev/disk/by-id")
	config.Devices = []string{disks[0], disks[2], "/dev/gone"}
	p := open(t, config, host.NewRunner())
	says(t, "Create with one of its disks", second(p.Create(t.Context(), spec("a", 8*volume.MiB))), volume.Unavailable, disks[2]+", /dev/gone (which is not there)", "/dev/disk/by-id")
	if s := status(t, p); s.Healthy || !strings.Contains(s.Message, "/dev/disk/by-id") {
		t.Errorf("Status answered %+v", s)
	}
	must(t, p.Close())
	// Links lead to them under any name.
	config.Devices = nil
	folder, err := os.MkdirTemp("/dev", "loamtest")
	must(t, err)
	defer os.RemoveAll(folder)
	for _, d := range disks[:2] {
		link := filepath.Join(folder, filepath.Base(d))
		must(t, os.Symlink(d, link))
		config.Devices = append(config.Devices, link)
	}
	p = open(t, config, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	if s := status(t, p); !s.Healthy {
		t.Errorf("Status answered %+v", s)
	}
}
