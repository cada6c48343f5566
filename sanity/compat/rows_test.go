package compat_test

import (
	"reflect"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/sanity/compat"
)

// snapshotsOf returns all snapshots, those in groups included.
func (o *opened) allSnapshots() []compat.Snapshot {
	all := slices.Clone(o.Snapshots)
	for _, g := range o.Groups {
		all = append(all, g.Members...)
	}
	return all
}

// listed compares what this release lists with what the earlier one did.
func (o *opened) listed() {
	o.Helper()
	var volumes, snapshots []compat.Row
	for _, v := range o.Volumes {
		volumes = append(volumes, v.Row)
	}
	for _, v := range o.Inline {
		volumes = append(volumes, v.Row)
	}
	for _, s := range o.allSnapshots() {
		snapshots = append(snapshots, s.Row)
	}
	o.compare("volumes", volumes)
	o.compare("snapshots", snapshots)

	live, err := o.driver.Controller.ListVolumes(o.Context(), &csi.ListVolumesRequest{})
	o.ok("ListVolumes", err)
	sizes := map[string]int64{}
	for _, e := range live.GetEntries() {
		sizes[e.GetVolume().GetVolumeId()] = e.GetVolume().GetCapacityBytes()
	}
	o.sizes("volume", volumes, sizes)
	taken, err := o.driver.Controller.ListSnapshots(o.Context(), &csi.ListSnapshotsRequest{})
	o.ok("ListSnapshots", err)
	sizes = map[string]int64{}
	for _, e := range taken.GetEntries() {
		sizes[e.GetSnapshot().GetSnapshotId()] = e.GetSnapshot().GetSizeBytes()
	}
	o.sizes("snapshot", snapshots, sizes)
}

func (o *opened) sizes(what string, rows []compat.Row, sizes map[string]int64) {
	o.Helper()
	for _, row := range rows {
		if size, ok := sizes[row.Handle()]; !ok || float64(size) != row["sizeBytes"] {
			o.Errorf("%s %s is listed %t with %d bytes; want %v", what, row.Handle(), ok, size, row["sizeBytes"])
		}
	}
	if len(sizes) != len(rows) {
		o.Errorf("%d of each %s are listed; want %d", len(sizes), what, len(rows))
	}
}

// compare wants of each row all that the earlier release said of it. This one may say more.
func (o *opened) compare(verb string, want []compat.Row) {
	o.Helper()
	has, err := o.driver.Rows(verb)
	o.ok("loam "+verb, err)
	for _, row := range want {
		i := slices.IndexFunc(has, func(r compat.Row) bool { return r.Handle() == row.Handle() })
		if i < 0 {
			o.Errorf("loam %s: %s is not there", verb, row.Handle())
			continue
		}
		for key, value := range row {
			if !reflect.DeepEqual(has[i][key], value) {
				o.Errorf("loam %s: %s has %s %v; want %v", verb, row.Handle(), key, has[i][key], value)
			}
		}
	}
	if len(has) != len(want) {
		o.Errorf("loam %s shows %d; want %d", verb, len(has), len(want))
	}
}

// again makes each request again that the earlier release has met.
func (o *opened) again() {
	o.Helper()
	for _, v := range o.Volumes {
		request := &csi.CreateVolumeRequest{}
		o.ok("read a request", compat.Decode(v.Request, request))
		answer, err := o.driver.Controller.CreateVolume(o.Context(), request)
		o.ok("create again "+v.Row.Handle(), err)
		if has := answer.GetVolume(); has.GetVolumeId() != v.Row.Handle() || float64(has.GetCapacityBytes()) != v.Row["sizeBytes"] {
			o.Errorf("created again, %s is %v", v.Row.Handle(), has)
		}
	}
	for _, s := range o.Snapshots {
		request := &csi.CreateSnapshotRequest{}
		o.ok("read a request", compat.Decode(s.Request, request))
		answer, err := o.driver.Controller.CreateSnapshot(o.Context(), request)
		o.ok("take again "+s.Row.Handle(), err)
		if has := answer.GetSnapshot(); has.GetSnapshotId() != s.Row.Handle() || float64(has.GetSizeBytes()) != s.Row["sizeBytes"] || !has.GetReadyToUse() {
			o.Errorf("taken again, %s is %v", s.Row.Handle(), has)
		}
	}
	for _, g := range o.Groups {
		request := &csi.CreateVolumeGroupSnapshotRequest{}
		o.ok("read a request", compat.Decode(g.Request, request))
		answer, err := o.driver.Group.CreateVolumeGroupSnapshot(o.Context(), request)
		o.ok("take again "+g.Handle, err)
		if has := answer.GetGroupSnapshot(); has.GetGroupSnapshotId() != g.Handle || len(has.GetSnapshots()) != len(g.Members) {
			o.Errorf("taken again, group %s is %v", g.Handle, has)
		}
	}
}
