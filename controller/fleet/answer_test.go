package fleet_test

import (
	"context"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/controller/fleet"
)

// lie changes answers of one type.
func lie[A any](change func(A)) func(answer any) {
	return func(answer any) {
		if a, is := answer.(A); is {
			change(a)
		}
	}
}

// A node that somebody has taken over says what it likes. Nothing of it may lead to another node.
func TestAnswerThatIsNotAboutItsNodeIsRefused(t *testing.T) {
	elsewhere := topologies("b")
	calls := map[string]func(f *fleet.Fleet) error{
		"create": func(f *fleet.Fleet) error {
			_, err := f.CreateVolume(context.Background(), request("v", "a"))
			return err
		},
		"get": func(f *fleet.Fleet) error {
			_, err := f.ControllerGetVolume(context.Background(), &csi.ControllerGetVolumeRequest{VolumeId: "a/default/there"})
			return err
		},
		"list": func(f *fleet.Fleet) error {
			_, err := f.ListVolumes(context.Background(), &csi.ListVolumesRequest{})
			return err
		},
		"snapshot": func(f *fleet.Fleet) error {
			_, err := f.CreateSnapshot(context.Background(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "a/default/there"})
			return err
		},
		"get snapshot": func(f *fleet.Fleet) error {
			_, err := f.GetSnapshot(context.Background(), &csi.GetSnapshotRequest{SnapshotId: "a/default/taken"})
			return err
		},
		"list snapshots": func(f *fleet.Fleet) error {
			_, err := f.ListSnapshots(context.Background(), &csi.ListSnapshotsRequest{})
			return err
		},
		"list one snapshot": func(f *fleet.Fleet) error {
			_, err := f.ListSnapshots(context.Background(), &csi.ListSnapshotsRequest{SnapshotId: "a/default/taken"})
			return err
		},
		"group": func(f *fleet.Fleet) error {
			_, err := f.CreateVolumeGroupSnapshot(context.Background(), &csi.CreateVolumeGroupSnapshotRequest{Name: "g", SourceVolumeIds: []string{"a/default/there"}})
			return err
		},
	}
	for _, c := range []struct {
		call, what string
		lie        func(answer any)
	}{
		{"create", "another node's handle", lie(func(answer *csi.CreateVolumeResponse) { answer.Volume.VolumeId = "b/default/v" })},
		{"create", "no handle", lie(func(answer *csi.CreateVolumeResponse) { answer.Volume.VolumeId = "" })},
		{"create", "no volume", lie(func(answer *csi.CreateVolumeResponse) { answer.Volume = nil })},
		{"create", "another topology", lie(func(answer *csi.CreateVolumeResponse) { answer.Volume.AccessibleTopology = elsewhere })},
		{"create", "a second topology", lie(func(answer *csi.CreateVolumeResponse) {
			v := answer.Volume
			v.AccessibleTopology = append(v.AccessibleTopology, elsewhere...)
		})},
		{"create", "no topology", lie(func(answer *csi.CreateVolumeResponse) { answer.Volume.AccessibleTopology = nil })},
		{"get", "another node's handle", lie(func(answer *csi.ControllerGetVolumeResponse) { answer.Volume.VolumeId = "b/default/there" })},
		{"get", "attached elsewhere", lie(func(answer *csi.ControllerGetVolumeResponse) {
			answer.Status.PublishedNodeIds = []string{"b"}
		})},
		{"list", "another node's handle", lie(func(answer *csi.ListVolumesResponse) { answer.Entries[0].Volume.VolumeId = "b/default/there" })},
		{"list", "attached elsewhere", lie(func(answer *csi.ListVolumesResponse) {
			answer.Entries[0].Status.PublishedNodeIds = []string{"a", "b"}
		})},
		{"snapshot", "another node's handle", lie(func(answer *csi.CreateSnapshotResponse) { answer.Snapshot.SnapshotId = "b/default/s" })},
		{"snapshot", "another topology", lie(func(answer *csi.CreateSnapshotResponse) { answer.Snapshot.AccessibleTopology = elsewhere })},
		{"snapshot", "another node's group", lie(func(answer *csi.CreateSnapshotResponse) { answer.Snapshot.GroupSnapshotId = "b/default/g" })},
		{"get snapshot", "another node's handle", lie(func(answer *csi.GetSnapshotResponse) { answer.Snapshot.SnapshotId = "b/default/taken" })},
		{"list snapshots", "another node's handle", lie(func(answer *csi.ListSnapshotsResponse) { answer.Entries[0].Snapshot.SnapshotId = "b/default/taken" })},
		{"list one snapshot", "another node's handle", lie(func(answer *csi.ListSnapshotsResponse) { answer.Entries[0].Snapshot.SnapshotId = "b/default/taken" })},
		{"group", "another node's handle", lie(func(answer *csi.CreateVolumeGroupSnapshotResponse) {
			answer.GroupSnapshot.GroupSnapshotId = "b/default/g"
		})},
		{"group", "another node's member", lie(func(answer *csi.CreateVolumeGroupSnapshotResponse) {
			answer.GroupSnapshot.Snapshots[0].SnapshotId = "b/default/s"
		})},
	} {
		t.Run(c.call+", "+c.what, func(t *testing.T) {
			f, nodes := three(t, fleet.Config{})
			if _, err := f.CreateVolume(t.Context(), request("there", "a")); err != nil {
				t.Fatal(err)
			}
			if _, err := f.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "taken", SourceVolumeId: "a/default/there"}); err != nil {
				t.Fatal(err)
			}
			nodes["a"].lying(c.lie)
			if err := calls[c.call](f); !contains(err, `node "a" answered with`) {
				t.Errorf("it is believed: %v", err)
			}
			nodes["a"].lying(nil)
			if err := calls[c.call](f); err != nil {
				t.Errorf("the truth is not believed: %v", err)
			}
		})
	}
}

// A volume whose name a node claims with another node's handle is made where it would have been.
func TestNameThatANodeClaimsForAnotherIsNotItsOwn(t *testing.T) {
	f := settled(fleet.Config{})
	liar, honest := newMachine(t, "a", 64<<20), newMachine(t, "b", 1<<30)
	liar.lying(lie(func(answer *csi.ListVolumesResponse) {
		answer.Entries = append(answer.Entries, &csi.ListVolumesResponse_Entry{Volume: &csi.Volume{VolumeId: "b/default/v", AccessibleTopology: topologies("a")}})
	}))
	liar.connect(t, f)
	honest.connect(t, f)
	if made, err := f.CreateVolume(t.Context(), request("v")); err != nil || made.GetVolume().GetVolumeId() != "b/default/v" {
		t.Errorf("%v, %v", made, err)
	}
}

// A node that is about to end takes no more calls, before its connection has ended.
func TestNodeThatTakesNoCallsIsNamedAndLeftOutOfLists(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	for _, name := range []string{"a", "b"} {
		if _, err := f.CreateVolume(t.Context(), request("on-"+name, name)); err != nil {
			t.Fatal(err)
		}
	}
	release, began := make(chan struct{}), make(chan string, 1)
	nodes["a"].working(func(name string) { began <- name; <-release })
	last := make(chan error, 1)
	go func() {
		_, err := f.CreateVolume(context.Background(), request("last", "a"))
		last <- err
	}()
	<-began
	stopped := make(chan struct{})
	go func() { defer close(stopped); nodes["a"].server.GracefulStop() }()
	get := func() error {
		_, err := f.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "a/default/on-a"})
		return err
	}
	eventually(t, func() bool { return get() != nil })
	if err := get(); code(err) != codes.Unavailable || !contains(err, `node "a"`) {
		t.Errorf("%v", err)
	}
	if all, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil || len(all.GetEntries()) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := f.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{}); err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-last; err != nil {
		t.Errorf("a call that was at work: %v", err)
	}
	<-stopped
}

// What is UNAVAILABLE on a node is not known, which is no reason to list without it.
func TestListThatANodeFailsToGiveIsAnError(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	nodes["b"].hook(func(_ context.Context, method string) error {
		if strings.HasSuffix(method, "/ListVolumes") {
			return status.Error(codes.Unavailable, "the disk is away")
		}
		return nil
	}, nil)
	if _, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); !contains(err, `node "b"`) || !contains(err, "the disk is away") {
		t.Errorf("%v", err)
	}
}
