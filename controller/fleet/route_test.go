package fleet_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/driver/volume"
)

func TestCallsGoToTheNodeOfTheHandle(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	made, err := f.CreateVolume(t.Context(), request("v", "c"))
	if err != nil || made.GetVolume().GetVolumeId() != "c/default/v" {
		t.Fatalf("%v, %v", made, err)
	}
	handle := made.GetVolume().GetVolumeId()
	if got, err := f.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: handle}); err != nil || got.GetVolume().GetVolumeId() != handle {
		t.Errorf("%v, %v", got, err)
	}
	sn, err := f.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle})
	if err != nil || sn.GetSnapshot().GetSnapshotId() != "c/default/s" {
		t.Fatalf("%v, %v", sn, err)
	}
	restore := request("copy")
	restore.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: "c/default/s"}}}
	if got, err := f.CreateVolume(t.Context(), restore); err != nil || got.GetVolume().GetVolumeId() != "c/default/copy" {
		t.Errorf("a copy is made beside its source: %v, %v", got, err)
	}
	restore = request("copy2", "a")
	restore.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: "c/default/s"}}}
	if _, err := f.CreateVolume(t.Context(), restore); code(err) != codes.ResourceExhausted {
		t.Errorf("a copy on another node than its source: %v", err)
	}
	if _, err := f.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "a/default/other"}); code(err) != codes.AlreadyExists {
		t.Errorf("a snapshot's name on another node: %v", err)
	}
	if _, err := f.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle}); err != nil {
		t.Error(err)
	}
	if left := nodes["c"].volumes(t); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
}

func TestNodeThatIsAwayIsNamedAtOnce(t *testing.T) {
	f, _ := three(t, fleet.Config{})
	for what, call := range map[string]func() error{
		"get": func() error {
			_, err := f.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "d/default/v"})
			return err
		},
		"delete": func() error {
			_, err := f.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "d/default/v"})
			return err
		},
		"capacity": func() error {
			_, err := f.GetCapacity(t.Context(), &csi.GetCapacityRequest{AccessibleTopology: topologies("d")[0]})
			return err
		},
		"snapshot": func() error {
			_, err := f.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "d/default/v"})
			return err
		},
		"list": func() error {
			_, err := f.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: "d/default/s"})
			return err
		},
	} {
		if err := call(); code(err) != codes.Unavailable || err == nil {
			t.Errorf("%s: %v", what, err)
		} else if want := `node "d" is not connected`; !contains(err, want) {
			t.Errorf("%s: %v does not say %s", what, err, want)
		}
	}
	if _, err := f.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "nonsense"}); code(err) != codes.NotFound {
		t.Error(err)
	}
	if _, err := f.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "nonsense"}); err != nil {
		t.Error(err)
	}
}

func TestRequestAndErrorPassUntouched(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	said := status.Error(codes.DataLoss, `pool "default": as the node has it`)
	var carried context.Context
	nodes["a"].hook(func(ctx context.Context, method string) error {
		if !strings.HasSuffix(method, "/ControllerGetVolume") {
			return nil
		}
		carried = ctx
		return said
	}, nil)
	ctx, cancel := context.WithTimeout(metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", "00-1-2-3")), time.Minute)
	defer cancel()
	if _, err := f.ControllerGetVolume(ctx, &csi.ControllerGetVolumeRequest{VolumeId: "a/default/v"}); err == nil || err.Error() != said.Error() {
		t.Errorf("%v, want %v", err, said)
	}
	if until, any := carried.Deadline(); !any || time.Until(until) > time.Minute {
		t.Errorf("the deadline is %s", until)
	}
	if got := metadata.ValueFromIncomingContext(carried, "traceparent"); len(got) != 1 || got[0] != "00-1-2-3" {
		t.Errorf("the metadata has %q", got)
	}
}

// A connection that takes the place of another is the one that counts.
func TestSecondConnectionReplacesTheFirst(t *testing.T) {
	f := settled(fleet.Config{})
	m := newMachine(t, "a", volume.GiB)
	m.connect(t, f)
	first, conn := m.gone, m.conn
	m.join(t, f)
	first()
	first()
	_ = conn.Close()
	if got := f.Connected(); len(got) != 1 {
		t.Fatalf("connected: %q", got)
	}
	if _, err := f.CreateVolume(t.Context(), request("v")); err != nil {
		t.Error(err)
	}
}

func TestGroupOfSnapshotsIsOfOneNode(t *testing.T) {
	f, _ := three(t, fleet.Config{})
	for _, v := range []struct{ name, node string }{{"x", "a"}, {"y", "a"}, {"z", "b"}} {
		if _, err := f.CreateVolume(t.Context(), request(v.name, v.node)); err != nil {
			t.Fatal(err)
		}
	}
	take := func(handles ...string) (*csi.VolumeGroupSnapshot, error) {
		r, err := f.CreateVolumeGroupSnapshot(t.Context(), &csi.CreateVolumeGroupSnapshotRequest{Name: "g", SourceVolumeIds: handles})
		return r.GetGroupSnapshot(), err
	}
	if _, err := take("a/default/x", "b/default/z"); code(err) != codes.FailedPrecondition || !contains(err, "different nodes") {
		t.Errorf("of two nodes: %v", err)
	}
	group, err := take("a/default/x", "a/default/y")
	if err != nil || len(group.GetSnapshots()) != 2 {
		t.Fatalf("%v, %v", group, err)
	}
	var ids []string
	for _, s := range group.GetSnapshots() {
		ids = append(ids, s.GetSnapshotId())
	}
	if got, err := f.GetVolumeGroupSnapshot(t.Context(), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: group.GetGroupSnapshotId(), SnapshotIds: ids}); err != nil || len(got.GetGroupSnapshot().GetSnapshots()) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := f.DeleteVolumeGroupSnapshot(t.Context(), &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: group.GetGroupSnapshotId(), SnapshotIds: ids}); err != nil {
		t.Error(err)
	}
	if left, err := f.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{}); err != nil || len(left.GetEntries()) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}
