package compat_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

// attached opens a pool of which volumes are in use, as the earlier release left them when it ended: an ext4, an xfs, a block volume
// and an inline one. Their users go on as if nothing had been.
func (o *opened) attached() {
	o.attachOwn()
	for _, v := range o.Volumes {
		if v.Row.Mark() == "used" && o.isInUse(v.Row.Handle()) {
			o.attach(v.Row.Handle(), v.Row["fsType"], true)
		}
	}
	for _, v := range o.Inline {
		o.attach(v.Row.Handle(), v.Row["fsType"], false)
	}
	if len(o.used) != 4 {
		o.Fatalf("in use are %v", o.used)
	}
	database := o.used[o.named("pvc-")]
	log, err := os.OpenFile(filepath.Join(database, "log of a user"), os.O_CREATE|os.O_WRONLY, 0o600)
	o.ok("open a file", err)
	o.open()
	o.listed()
	_, err = log.WriteString("the user goes on writing\n")
	o.ok("write", errors.Join(err, log.Sync(), log.Close()))
	o.ok("remove the file", os.Remove(log.Name()))
	o.sameDevices()
	for _, v := range o.Volumes {
		if at, ok := o.used[v.Row.Handle()]; ok {
			o.publish(v.Row.Handle(), o.access(v))
			o.holds(v.Row.Handle(), at, v.Content)
		}
	}
	o.sameDevices()
	taken, err := o.driver.Controller.CreateSnapshot(o.Context(), &csi.CreateSnapshotRequest{Name: "taken-later", SourceVolumeId: o.named("pvc-")})
	o.ok("take a snapshot of a volume in use", err)
	_, err = o.driver.Controller.DeleteSnapshot(o.Context(), &csi.DeleteSnapshotRequest{SnapshotId: taken.GetSnapshot().GetSnapshotId()})
	o.ok("delete it", err)
	o.grow()
	o.refusesInUse()
	o.sameDevices()
	for _, v := range o.Inline {
		o.inline(v, o.used[v.Row.Handle()])
	}
	for _, v := range o.Volumes {
		if _, ok := o.used[v.Row.Handle()]; ok {
			o.unpublish(v.Row.Handle())
		}
	}
	rows, err := o.driver.Rows("volumes")
	o.ok("loam volumes", err)
	for _, row := range rows {
		if row.Handle() == o.named("block") && row.Mark() != string(volume.Block) {
			o.Errorf("%s was a block device while this release ran, and is marked %s", row.Handle(), row.Mark())
		}
		if row["device"] != nil {
			o.Errorf("%s is attached as %v although it is unstaged", row.Handle(), row["device"])
		}
	}
	o.removeAll()
	o.empty()
	o.ok("stop", o.driver.Stop())
}

func (o *opened) isInUse(handle string) bool {
	return handle == o.named("pvc-") || handle == o.named("xfs") || handle == o.named("block")
}

// named returns the handle of the volume whose name begins so.
func (o *opened) named(prefix string) string {
	for _, v := range o.Volumes {
		if id, err := volume.ParseID(v.Row.Handle()); err == nil && strings.HasPrefix(id.Name, prefix) {
			return v.Row.Handle()
		}
	}
	return ""
}

// attachOwn attaches and mounts a pool's own file system.
func (o *opened) attachOwn() {
	o.Helper()
	dir := filepath.Join(o.dir, "pool", "pool")
	file := filepath.Join(dir, "filesystem")
	if _, err := os.Stat(file); err != nil {
		return
	}
	o.ok("mount the pool", scratch.Run("mount", "-t", "xfs", "-o", "noatime", o.loop(file), filepath.Join(dir, "mounted")))
}

// loop makes a loop device as releases since 4311d95 do: with direct I/O and blocks of 4096 bytes.
func (o *opened) loop(file string) string {
	o.Helper()
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", "--sector-size", "4096", file).CombinedOutput()
	device := strings.TrimSpace(string(out))
	if err != nil {
		o.Fatalf("losetup: %v: %s", err, out)
	}
	return device
}

// attach attaches a volume, and stages and publishes it: an inline one, which is not staged, at its target.
func (o *opened) attach(handle string, fsType any, staged bool) {
	o.Helper()
	id, err := volume.ParseID(handle)
	o.ok("parse", err)
	device, at := "", o.path(handle)
	if o.Group != "" {
		lv := "loam." + id.Pool + ".v." + id.Name
		_, err := scratch.LVM("lvchange", "--activate", "y", "--ignoreactivationskip", o.Group+"/"+lv)
		o.ok("activate", err)
		device = "/dev/mapper/" + o.Group + "-" + strings.ReplaceAll(lv, "-", "--")
	} else {
		root := filepath.Join(o.dir, "pool", "pool", "mounted")
		if o.Mount != "" {
			root = filepath.Join(o.dir, "pool", "mnt", "pool")
		}
		device = o.loop(filepath.Join(root, "volumes", id.Name, "image"))
	}
	o.used[handle] = at
	switch {
	case fsType == nil:
		o.ok("make the target", errors.Join(os.Mkdir(at+"-staging", 0o700), os.WriteFile(at, nil, 0o600)))
		o.ok("bind", scratch.Run("mount", "--bind", device, at))
	case staged:
		o.ok("make the paths", errors.Join(os.Mkdir(at+"-staging", 0o700), os.Mkdir(at, 0o700)))
		o.ok("mount", scratch.Run("mount", "-t", fsType.(string), device, at+"-staging"))
		o.ok("bind", scratch.Run("mount", "--bind", at+"-staging", at))
	default:
		o.ok("make the target", os.Mkdir(at, 0o700))
		o.ok("mount", scratch.Run("mount", "-t", fsType.(string), device, at))
	}
	o.device[handle] = o.number(at)
}

// sameDevices fails the test if what is in use is not on the device that it was on.
func (o *opened) sameDevices() {
	o.Helper()
	rows, err := o.driver.Rows("volumes")
	o.ok("loam volumes", err)
	for _, row := range rows {
		number, used := o.device[row.Handle()]
		device, _ := row["device"].(string)
		if !used {
			if device != "" {
				o.Errorf("%s has the device %s, and was not attached", row.Handle(), device)
			}
			continue
		}
		if now := o.number(o.used[row.Handle()]); now != number {
			o.Errorf("%s was on device %d, and is on %d", row.Handle(), number, now)
		}
		var s unix.Stat_t
		if err := unix.Stat(device, &s); err != nil || s.Rdev != number {
			o.Errorf("%s has the device %q, number %d, %v; want number %d", row.Handle(), device, s.Rdev, err, number)
		}
	}
}

// refusesInUse wants that what is in use cannot be deleted.
func (o *opened) refusesInUse() {
	o.Helper()
	for handle := range o.used {
		if _, err := o.driver.Controller.DeleteVolume(o.Context(), &csi.DeleteVolumeRequest{VolumeId: handle}); err == nil {
			o.Fatalf("%s was deleted while it was in use", handle)
		}
	}
}
