package crash_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
)

// onLVM has pools of several types in one volume group.
type onLVM struct{}

const (
	crashGroup = "loamcrash"
	lvmDisks   = 3
	thinBytes  = "2g"
)

var lvmConfigs = map[string]lvm.Config{
	"linear":  {VolumeGroup: crashGroup},
	"raid1":   {VolumeGroup: crashGroup, Type: lvm.RAID1},
	"striped": {VolumeGroup: crashGroup, Type: lvm.Striped},
	"thin":    {VolumeGroup: crashGroup, ThinPool: "thin", Space: config.Space{Overprovision: 3}},
}

func (onLVM) pools() []string  { return slices.Sorted(maps.Keys(lvmConfigs)) }
func (onLVM) most() (int, int) { return 6, 4 }

// snapshotsStay is not so of thick volumes, whose snapshots have only what was written over since.
func (onLVM) snapshotsStay(name string) bool { return lvmConfigs[name].ThinPool != "" }
func (onLVM) slow(name string) bool          { return lvmConfigs[name].ThinPool == "" }

func (onLVM) open(ctx context.Context, _, name string, machine *host.Host) (pool.Pool, error) {
	return lvm.Open(ctx, name, nodeName, lvmConfigs[name], machine, host.NewRunner())
}

// makeGroup makes the volume group with its thin pool until the test ends.
func makeGroup(t *testing.T) {
	t.Helper()
	disks := scratch.Disks(t, lvmDisks)[:lvmDisks]
	err := makeThinPool(disks)
	t.Cleanup(func() {
		if err := scratch.RemoveVolumeGroup(crashGroup, disks...); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func makeThinPool(disks []string) error {
	if _, err := scratch.VolumeGroup(crashGroup, disks...); err != nil {
		return err
	}
	_, err := scratch.LVM("lvcreate", "--yes", "--type", "thin-pool", "--size", thinBytes, "--chunksize", "64k", "--poolmetadatasize", "32m", "--name", "thin", crashGroup)
	return err
}

// device is the name that device-mapper has for it.
func (onLVM) device(_ string, v vol) string { return mapped("v", v.pool, nameOf(v.handle)) }

func mapped(what, pool, name string) string {
	return crashGroup + "-" + strings.ReplaceAll("loam."+pool+"."+what+"."+name, "-", "--")
}

func (onLVM) volumeOnDisk(_ string, v vol) string    { return "volume=" + v.handle }
func (onLVM) snapshotOnDisk(_ string, s snap) string { return "snapshot=" + s.handle }
func (onLVM) base(string, bool) state                { return state{} }
func (onLVM) idle(string, bool) state                { return state{} }

func (o onLVM) path(dir string, v vol) (string, error) {
	devices, err := logicalVolumes()
	if err != nil {
		return "", err
	}
	if device, active := devices[o.device(dir, v)]; active {
		return "/dev/" + device, nil
	}
	return "", fmt.Errorf("volume %s has no device", v.handle)
}

// observe adds the logical volumes that are active, and all that are ours by their tags and names.
func (o onLVM) observe(_ string, s state) error {
	devices, err := logicalVolumes()
	if err != nil {
		return err
	}
	for name, device := range devices {
		one, err := describeBlock(device)
		if err != nil {
			return err
		}
		s["device "+name] = one
	}
	out, err := scratch.LVM("lvs", "--noheadings", "-o", "lv_name,lv_tags", crashGroup)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		name, tags, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "loam.") {
			continue
		}
		key := name
		for tag := range strings.SplitSeq(strings.TrimSpace(tags), ",") {
			tag = strings.TrimPrefix(tag, volume.DriverName+"/")
			if strings.HasPrefix(tag, "volume=") || strings.HasPrefix(tag, "snapshot=") {
				key = tag
			}
		}
		s.add("on disk "+key, "there")
		if handle, ok := strings.CutPrefix(key, "volume="); ok && slices.Contains(strings.Split(strings.TrimSpace(tags), ","), volume.DriverName+"/mark=block") {
			s["mark "+handle] = block
		}
	}
	return nil
}

// part is what a device is part of: its name goes before.
var part = regexp.MustCompile(`(_r(image|meta)_[0-9]+)?(-(real|cow))?$`)

// logicalVolumes returns the active logical volumes that a driver has made, by what device-mapper calls
// them, without the parts that they are made of; a part that was left alone is one of its own.
func logicalVolumes() (map[string]string, error) {
	all, err := blockDevices("/sys/block/dm-*/dm/name")
	devices := map[string]string{}
	for device, name := range all {
		whole := part.ReplaceAllString(name, "")
		// LVM activates a thick volume together with its snapshots.
		isSnapshot := strings.Contains(name, ".s.") || strings.Contains(name, ".g.")
		isPart := whole != name && slices.Contains(slices.Collect(maps.Values(all)), whole)
		if strings.HasPrefix(name, crashGroup+"-loam.") && !isSnapshot && !isPart {
			devices[name] = device
		}
	}
	return devices, err
}
