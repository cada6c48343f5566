package node_test

import (
	"os"
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

func TestStats(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"v", "device"} {
		m.create(name)
	}
	m.ok("stage", m.stage("v", mount("ext4")))
	m.ok("publish", m.publish("v", "a", mount("")))
	m.ok("stage", m.stage("device", block()))
	m.ok("publish", m.publish("device", "a", block()))
	m.ok("publish inline", m.publishInline("a", nil))
	// What the kubelet makes of a block volume for itself: its device once more, at a path of its own.
	bound, linked := m.path("pods", "dev"), m.path("pods", "link")
	m.ok("make a file", os.WriteFile(bound, nil, 0o640))
	m.ok("Bind", m.m.Bind(t.Context(), m.target("device", "a"), bound, false))
	m.ok("make a link", os.Symlink(m.get("device").Device, linked))

	for _, c := range []struct {
		name, path string
		units      []csi.VolumeUsage_Unit
	}{
		{"v", m.target("v", "a"), []csi.VolumeUsage_Unit{csi.VolumeUsage_BYTES, csi.VolumeUsage_INODES}},
		{"v", m.path("staging", "v"), []csi.VolumeUsage_Unit{csi.VolumeUsage_BYTES, csi.VolumeUsage_INODES}},
		{"device", m.target("device", "a"), []csi.VolumeUsage_Unit{csi.VolumeUsage_BYTES}},
		{"device", bound, []csi.VolumeUsage_Unit{csi.VolumeUsage_BYTES}},
		{"device", linked, []csi.VolumeUsage_Unit{csi.VolumeUsage_BYTES}},
	} {
		usage, err := m.stats(c.name, c.path)
		m.ok("stats at "+c.path, err)
		var units []csi.VolumeUsage_Unit
		for _, u := range usage {
			units = append(units, u.GetUnit())
			if u.GetTotal() <= 0 || u.GetUsed()+u.GetAvailable() > u.GetTotal() {
				t.Errorf("at %s: %v", c.path, u)
			}
		}
		if !slices.Equal(units, c.units) {
			t.Errorf("at %s: %v, want %v", c.path, units, c.units)
		}
		if usage[0].GetTotal() > int64(size) || (len(units) == 1 && usage[0].GetTotal() != int64(size)) {
			t.Errorf("at %s: %v, the volume has %d", c.path, usage[0], size)
		}
	}
	answer, err := m.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: inline, VolumePath: m.target("inline", "a")})
	if err != nil || len(answer.GetUsage()) != 2 {
		t.Errorf("of an inline volume: %v, %v", answer, err)
	}
}

func TestStatsOfBtrfsHaveNoInodes(t *testing.T) {
	m := newMachine(t)
	m.create("v", func(s *volume.Spec) { s.Size.RequiredBytes = volume.Btrfs.Least() })
	m.ok("stage", m.stage("v", mount("btrfs")))
	usage, err := m.stats("v", m.path("staging", "v"))
	if err != nil || len(usage) != 1 || usage[0].GetUnit() != csi.VolumeUsage_BYTES || usage[0].GetTotal() != int64(volume.Btrfs.Least()) {
		t.Errorf("%v, %v", usage, err)
	}
}

func TestStatsChangeNothing(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.ok("stage", m.stage("v", mount("")))
	m.watch = func(s step) error {
		if !slices.Contains([]string{"pool.Get", "Mounts", "Device", "Usage"}, s.Method) {
			t.Errorf("stats call %s", s.Method)
		}
		return nil
	}
	_, err := m.stats("v", m.path("staging", "v"))
	m.ok("stats", err)
}

func TestStatsAndExpandRefuse(t *testing.T) {
	type where struct {
		name, id, path string
		kind           volume.Kind
	}
	cases := []where{
		{"no volume", "", "staging/staged", volume.Invalid},
		{"no path", "n1/fast/staged", "", volume.Invalid},
		{"a volume that does not exist, at a relative path", "n1/fast/none", "some/path", volume.NotFound},
		{"a malformed handle, at a relative path", "fake-volume", "some/path", volume.NotFound},
		{"a handle of 129 bytes", string(make([]byte, 129)), "/some/path", volume.NotFound},
		{"a relative path", "n1/fast/staged", "some/path", volume.NotFound},
		{"a path that climbs", "n1/fast/staged", "/some/../path", volume.NotFound},
		{"a path that is not there", "n1/fast/staged", "/some/path", volume.NotFound},
		{"the root directory", "n1/fast/staged", "/", volume.NotFound},
		{"a path of another volume", "n1/fast/staged", "pods/a/device", volume.NotFound},
		{"a path where nothing is", "n1/fast/staged", "staging/fresh", volume.NotFound},
		{"a volume that is not attached", "n1/fast/fresh", "staging/fresh", volume.NotFound},
		{"a block volume at a path where nothing is", "n1/fast/device", "staging/device", volume.NotFound},
	}
	var refusals []refusal
	for _, c := range cases {
		path := func(m *machine) string {
			if len(c.path) > 5 && (c.path[:5] == "pods/" || c.path[:5] == "stagi") {
				return m.path(c.path)
			}
			return c.path
		}
		refusals = append(refusals, refusal{"stats of " + c.name, c.kind, "", func(m *machine) (any, error) {
			return m.NodeGetVolumeStats(m.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: c.id, VolumePath: path(m)})
		}}, refusal{"expand " + c.name, c.kind, "", func(m *machine) (any, error) {
			return m.NodeExpandVolume(m.Context(), &csi.NodeExpandVolumeRequest{VolumeId: c.id, VolumePath: path(m)})
		}})
	}
	for _, c := range []struct {
		name   string
		kind   volume.Kind
		says   string
		change func(m *machine, r *csi.NodeExpandVolumeRequest)
	}{
		{"a negative size", volume.Invalid, "negative", func(_ *machine, r *csi.NodeExpandVolumeRequest) { r.CapacityRange.RequiredBytes = -1 }},
		{"an impossible range", volume.OutOfRange, "limit", func(_ *machine, r *csi.NodeExpandVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: 2, LimitBytes: 1}
		}},
		{"more than the volume has", volume.OutOfRange, "ControllerExpandVolume", func(_ *machine, r *csi.NodeExpandVolumeRequest) {
			r.CapacityRange.RequiredBytes = int64(size) + 1
		}},
		{"less than the volume has", volume.OutOfRange, "ControllerExpandVolume", func(_ *machine, r *csi.NodeExpandVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{LimitBytes: int64(size) - 1}
		}},
		{"as a block device", volume.Invalid, "file system", func(_ *machine, r *csi.NodeExpandVolumeRequest) { r.VolumeCapability = block() }},
		{"with half a capability", volume.Invalid, "access mode", func(_ *machine, r *csi.NodeExpandVolumeRequest) {
			r.VolumeCapability = &csi.VolumeCapability{}
		}},
	} {
		refusals = append(refusals, refusal{"expand " + c.name, c.kind, c.says, func(m *machine) (any, error) {
			req := &csi.NodeExpandVolumeRequest{VolumeId: "n1/fast/staged", VolumePath: m.target("staged", "a"), CapacityRange: &csi.CapacityRange{}}
			c.change(m, req)
			return m.NodeExpandVolume(m.Context(), req)
		}})
	}
	refuse(t, refusals)
}
