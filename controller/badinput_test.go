package controller_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// badHandles name nothing, whoever sends them.
var badHandles = []string{
	"fake-vol-id", "/", "//", "n1/fast", "n1/fast/v/w", "n1/fast/", "../../etc/passwd", "n1/../v", "n1/fast/..", "n1/fast/v\x00", "n1/fast/v\n",
	"n1/fast/v w", "n1/fast/$(reboot)", "n1/FAST/v", "n1/fast/" + strings.Repeat("v", 49), strings.Repeat("x", 129), "n1/fast/" + strings.Repeat("\x1b[2J", 500), "n1/fast/\u202e",
}

func TestBadHandles(t *testing.T) {
	m := newMachine(t)
	m.create("fast", "v")
	ctx := t.Context()
	for _, bad := range badHandles {
		says := fmt.Sprintf("%q", bad[:min(len(bad), 4)])
		says = says[1 : len(says)-1]
		var cases []refusal
		for name, do := range map[string]func() (any, error){
			"source volume":   func() (any, error) { return m.CreateVolume(ctx, newVolume("new", from(ofVolume(bad)))) },
			"source snapshot": func() (any, error) { return m.CreateVolume(ctx, newVolume("new", from(ofSnapshot(bad)))) },
			"publish": func() (any, error) {
				return m.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: bad, NodeId: node, VolumeCapability: mount("")})
			},
			"validate": func() (any, error) {
				return m.ValidateVolumeCapabilities(ctx, &csi.ValidateVolumeCapabilitiesRequest{VolumeId: bad, VolumeCapabilities: caps(mount(""))})
			},
			"get":          func() (any, error) { return m.ControllerGetVolume(ctx, &csi.ControllerGetVolumeRequest{VolumeId: bad}) },
			"get snapshot": func() (any, error) { return m.GetSnapshot(ctx, &csi.GetSnapshotRequest{SnapshotId: bad}) },
			"get group": func() (any, error) {
				return m.GetVolumeGroupSnapshot(ctx, &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: bad})
			},
			"snapshot": func() (any, error) {
				return m.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: "new", SourceVolumeId: bad})
			},
			"group": func() (any, error) {
				return m.CreateVolumeGroupSnapshot(ctx, &csi.CreateVolumeGroupSnapshotRequest{Name: "new", SourceVolumeIds: []string{handle("fast", "v"), bad}})
			},
			"expand": func() (any, error) {
				return m.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: bad, CapacityRange: exactly(gib)})
			},
		} {
			cases = append(cases, refusal{fmt.Sprintf("%s %.20q", name, bad), volume.NotFound, says, func(*machine) (any, error) { return do() }})
		}
		m.refuse(cases)
		before := m.state()
		for name, do := range map[string]func() (any, error){
			"delete": func() (any, error) { return m.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: bad}) },
			"unpublish": func() (any, error) {
				return m.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: bad})
			},
			"delete snapshot": func() (any, error) {
				return m.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: bad})
			},
			"delete group": func() (any, error) {
				return m.DeleteVolumeGroupSnapshot(ctx, &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: bad})
			},
			"list snapshots": func() (any, error) {
				return m.ListSnapshots(ctx, &csi.ListSnapshotsRequest{SnapshotId: bad, SourceVolumeId: bad})
			},
		} {
			if _, err := do(); err != nil || m.state() != before {
				t.Errorf("%s of %.20q: %v", name, bad, err)
			}
		}
	}
}

func from(source *csi.VolumeContentSource) func(*csi.CreateVolumeRequest) {
	return func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = source }
}

func TestBadVolumeRequests(t *testing.T) {
	m := newMachine(t)
	m.create("fast", "v")
	create := func(name, says string, change func(*csi.CreateVolumeRequest)) refusal {
		return refusal{name, volume.Invalid, says, func(m *machine) (any, error) { return m.CreateVolume(m.Context(), newVolume("new", change)) }}
	}
	named := func(name, says string) refusal {
		return create(fmt.Sprintf("name %.20q", name), says, func(r *csi.CreateVolumeRequest) { r.Name = name })
	}
	sized := func(required, limit int64, says string) refusal {
		return create(fmt.Sprintf("size %d to %d", required, limit), says, func(r *csi.CreateVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: required, LimitBytes: limit}
		})
	}
	with := func(name, says string, c ...*csi.VolumeCapability) refusal {
		return create(name, says, func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = c })
	}
	parameter := func(key, value, says string) refusal {
		return create(fmt.Sprintf("parameter %.20q=%.20q", key, value), says, func(r *csi.CreateVolumeRequest) { r.Parameters = map[string]string{key: value} })
	}
	cases := []refusal{
		named("", "name is missing"), named(strings.Repeat("x", 129), "129"), named("a\x00b", `a\x00b`), named("a\x1bb", `a\x1bb`), named("a\u0085b", `a\u0085b`), named("a\xffb", "control"),
		sized(-1, 0, "-1"), sized(0, -1, "-1"), sized(math.MinInt64, 0, "-"), sized(gib, math.MinInt64, "-"),
		with("no capability", "missing"), with("nil capability", "missing", nil), with("empty capability", "access mode", &csi.VolumeCapability{}),
		with("no access type", "neither", withMode(&csi.VolumeCapability{}, csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER)),
		with("no access mode", "UNKNOWN", withMode(mount(""), csi.VolumeCapability_AccessMode_UNKNOWN)), with("unknown mode", "99", withMode(block(), 99)),
		with("file system", "vfat", mount("vfat")), with("file system with a path", `../x`, mount("../x")), with("long file system", "fff", mount(strings.Repeat("f", 5000))),
		with("two file systems", "xfs", mount("ext4"), mount("xfs")), with("mount flag", "bind", mount("", "bind")), with("mount flag with a blank", "noatime", mount("", "noatime -o x")),
		parameter("color", "red", "color"), parameter("Pool", "fast", "Pool"), parameter("", "x", `""`), parameter("pool", "gone", "gone"), parameter("pool", "../fast", "../fast"), parameter("pool", "", "pool"),
		parameter("a\x00", "x", `a\x00`), parameter(strings.Repeat("k", 3000), "v", "kkk"), parameter("mkfsOptions", "/dev/sda", "/dev/sda"), parameter("mkfsOptions", "-m $(reboot)", "reboot"),
		parameter("mkfsOptions", strings.Repeat("-m 1 ", 1000), "4096"), parameter("csi.storage.k8s.io/pvc/name", strings.Repeat("x", 4096), "4096"), parameter("csi.storage.k8s.io/fstype", "ext4", "fstype"),
		create("mutable parameter", "iops", func(r *csi.CreateVolumeRequest) { r.MutableParameters = map[string]string{"iops": "1"} }),
		create("empty source", "volume_content_source", from(&csi.VolumeContentSource{})),
		create("source without a snapshot", "snapshot_id", from(ofSnapshot(""))), create("source without a volume", "volume_id", from(ofVolume(""))),
		{"absurd size", volume.OutOfRange, "", func(m *machine) (any, error) {
			return m.CreateVolume(m.Context(), newVolume("new", func(r *csi.CreateVolumeRequest) { r.CapacityRange = exactly(math.MaxInt64) }))
		}},
		{"more than there is", volume.Full, "slow", func(m *machine) (any, error) {
			return m.CreateVolume(m.Context(), newVolume("new", func(r *csi.CreateVolumeRequest) {
				r.CapacityRange = &csi.CapacityRange{RequiredBytes: math.MaxInt64 - 4095}
			}))
		}},
	}
	for mode := range csi.VolumeCapability_AccessMode_Mode_name {
		if mode := csi.VolumeCapability_AccessMode_Mode(mode); strings.HasPrefix(mode.String(), "MULTI_NODE") {
			cases = append(cases, with("mode "+mode.String(), mode.String(), withMode(mount(""), mode)), with("block "+mode.String(), mode.String(), mount(""), withMode(block(), mode)))
		}
	}
	m.refuse(cases)
}

func TestBadOtherRequests(t *testing.T) {
	m := newMachine(t)
	v := m.create("fast", "v").GetVolumeId()
	ctx, long := t.Context(), strings.Repeat("x", 129)
	publish := func(id, nodeID string, c *csi.VolumeCapability) func(*machine) (any, error) {
		return func(*machine) (any, error) {
			return m.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: nodeID, VolumeCapability: c})
		}
	}
	expand := func(id string, r *csi.CapacityRange, c *csi.VolumeCapability) func(*machine) (any, error) {
		return func(*machine) (any, error) {
			return m.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: r, VolumeCapability: c})
		}
	}
	validate := func(id string, c ...*csi.VolumeCapability) func(*machine) (any, error) {
		return func(*machine) (any, error) {
			return m.ValidateVolumeCapabilities(ctx, &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: c})
		}
	}
	snapshot := func(name, source string, parameters map[string]string) func(*machine) (any, error) {
		return func(*machine) (any, error) {
			return m.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: source, Parameters: parameters})
		}
	}
	group := func(name string, parameters map[string]string) func(*machine) (any, error) {
		return func(*machine) (any, error) {
			return m.CreateVolumeGroupSnapshot(ctx, &csi.CreateVolumeGroupSnapshotRequest{Name: name, SourceVolumeIds: []string{v}, Parameters: parameters})
		}
	}
	capacity := func(parameters map[string]string) func(*machine) (any, error) {
		return func(*machine) (any, error) {
			return m.GetCapacity(ctx, &csi.GetCapacityRequest{Parameters: parameters})
		}
	}
	other := map[string]string{"other": "x"}
	m.refuse([]refusal{
		{"delete nothing", volume.Invalid, "volume_id", func(*machine) (any, error) { return m.DeleteVolume(ctx, &csi.DeleteVolumeRequest{}) }},
		{"get nothing", volume.Invalid, "volume_id", func(*machine) (any, error) { return m.ControllerGetVolume(ctx, &csi.ControllerGetVolumeRequest{}) }},
		{"unpublish nothing", volume.Invalid, "volume_id", func(*machine) (any, error) {
			return m.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{NodeId: node})
		}},
		{"delete no snapshot", volume.Invalid, "snapshot_id", func(*machine) (any, error) { return m.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{}) }},
		{"get no snapshot", volume.Invalid, "snapshot_id", func(*machine) (any, error) { return m.GetSnapshot(ctx, &csi.GetSnapshotRequest{}) }},
		{"delete no group", volume.Invalid, "group_snapshot_id", func(*machine) (any, error) {
			return m.DeleteVolumeGroupSnapshot(ctx, &csi.DeleteVolumeGroupSnapshotRequest{})
		}},
		{"get no group", volume.Invalid, "group_snapshot_id", func(*machine) (any, error) {
			return m.GetVolumeGroupSnapshot(ctx, &csi.GetVolumeGroupSnapshotRequest{})
		}},
		{"negative page of volumes", volume.Invalid, "-1", func(*machine) (any, error) { return m.ListVolumes(ctx, &csi.ListVolumesRequest{MaxEntries: -1}) }},
		{"negative page of snapshots", volume.Invalid, "-1", func(*machine) (any, error) { return m.ListSnapshots(ctx, &csi.ListSnapshotsRequest{MaxEntries: -1}) }},
		{"publish nothing", volume.Invalid, "volume_id", publish("", node, mount(""))},
		{"publish nowhere", volume.Invalid, "node_id", publish(v, "", mount(""))},
		{"publish without a capability", volume.Invalid, "capability", publish(v, node, nil)},
		{"publish to many", volume.Invalid, "MULTI_NODE", publish(v, node, withMode(mount(""), csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER))},
		{"publish to a long name", volume.NotFound, "xxx", publish(v, strings.Repeat("x", 5000), mount(""))},
		{"publish to a name that moves the cursor", volume.NotFound, `\x1b`, publish(v, "\x1b[2J", mount(""))},
		{"expand nothing", volume.Invalid, "volume_id", expand("", exactly(gib), nil)},
		{"expand without a size", volume.Invalid, "capacity_range", expand(v, nil, nil)},
		{"expand to no size", volume.Invalid, "capacity_range", expand(v, &csi.CapacityRange{}, nil)},
		{"expand below zero", volume.Invalid, "-5", expand(v, &csi.CapacityRange{RequiredBytes: -5}, nil)},
		{"expand to a limit below zero", volume.Invalid, "-5", expand(v, &csi.CapacityRange{RequiredBytes: 1, LimitBytes: -5}, nil)},
		{"expand for an empty capability", volume.Invalid, "access mode", expand(v, exactly(gib), &csi.VolumeCapability{})},
		{"validate nothing", volume.Invalid, "volume_id", validate("", mount(""))},
		{"validate no capability", volume.Invalid, "capabilities", validate(v)},
		{"validate a nil capability", volume.Invalid, "capability", validate(v, mount(""), nil)},
		{"validate no access type", volume.Invalid, "neither", validate(v, withMode(&csi.VolumeCapability{}, csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER))},
		{"validate no access mode", volume.Invalid, "access mode", validate(v, withMode(mount(""), csi.VolumeCapability_AccessMode_UNKNOWN))},
		{"snapshot without a name", volume.Invalid, "name", snapshot("", v, nil)},
		{"snapshot with a long name", volume.Invalid, "129", snapshot(long, v, nil)},
		{"snapshot with a control character", volume.Invalid, `a\x1f`, snapshot("a\x1f", v, nil)},
		{"snapshot of nothing", volume.Invalid, "source_volume_id", snapshot("new", "", nil)},
		{"snapshot with a parameter", volume.Invalid, "other", snapshot("new", v, other)},
		{"group without a name", volume.Invalid, "name", group("", nil)},
		{"group with a long name", volume.Invalid, "129", group(long, nil)},
		{"group with a parameter", volume.Invalid, "other", group("new", other)},
		{"capacity with a parameter", volume.Invalid, "other", capacity(other)},
		{"capacity of a bad pool name", volume.Invalid, "../x", capacity(inPool("../x"))},
	})
}
