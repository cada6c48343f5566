package driver

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/volume"
)

// lister is services whose creates wait, and whose list is empty.
type lister struct{ *services }

func (lister) ListVolumes(context.Context, *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	return &csi.ListVolumesResponse{}, nil
}

// inventories is a service of a node that has nothing.
type inventories struct {
	inventory.UnimplementedInventoryServer
}

func (inventories) ListInventory(context.Context, *inventory.ListInventoryRequest) (*inventory.ListInventoryResponse, error) {
	return &inventory.ListInventoryResponse{DefaultPool: "fast"}, nil
}

// A controller learns what is being made also when whoever asked for it has left.
func TestAListOfVolumesNamesThoseBeingMade(t *testing.T) {
	begun, proceed := make(chan struct{}, 1), make(chan struct{})
	s := &services{create: func(context.Context, *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
		begun <- struct{}{}
		<-proceed
		return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: handle("v")}}, nil
	}, remove: func(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
		begun <- struct{}{}
		<-proceed
		return &csi.DeleteVolumeResponse{}, nil
	}}
	r, conn := startRemote(t, Config{Controller: lister{s}, Inventory: inventories{}})
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan error, 2)
	go func() {
		_, err := r.controller.CreateVolume(ctx, &csi.CreateVolumeRequest{Name: "v"})
		answered <- err
	}()
	receive(t, begun, "the create")
	go func() {
		_, err := r.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: handle("w")})
		answered <- err
	}()
	receive(t, begun, "the delete")
	leave()
	receive(t, answered, "the first caller to leave")
	receive(t, answered, "the second caller to leave")
	making := func(c csi.ControllerClient) []string {
		var beside metadata.MD
		if _, err := c.ListVolumes(t.Context(), &csi.ListVolumesRequest{}, grpc.Header(&beside)); err != nil {
			t.Error(err)
		}
		return beside.Get(volume.MetadataMaking)
	}
	if got := making(csi.NewControllerClient(conn)); !slices.Equal(got, []string{"v"}) {
		t.Errorf("while it is made: %q", got)
	}
	if got := making(r.controller); got != nil {
		t.Errorf("on the socket: %q", got)
	}
	for token, want := range map[string][]string{"": {"v"}, "behind": nil} {
		answer, err := inventory.NewInventoryClient(conn).ListInventory(t.Context(), &inventory.ListInventoryRequest{Token: token})
		if err != nil || !slices.Equal(answer.GetMaking(), want) || answer.GetDefaultPool() != "fast" {
			t.Errorf("the inventory from %q: %v, %v", token, answer, err)
		}
	}
	close(proceed)
	if err := r.stop(t); err != nil { // which waits for the work
		t.Error(err)
	}
	if got := r.gate.making(); got != nil {
		t.Errorf("when it is made: %q", got)
	}
}

// What passes calls on ends them with their caller, and in its time.
func TestAForwardedCallEndsWithItsCaller(t *testing.T) {
	begun, ended := make(chan time.Time, 1), make(chan error, 1)
	s := &services{create: func(ctx context.Context, _ *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
		until, _ := ctx.Deadline()
		begun <- until
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}
	r := start(t, Config{Controller: s, Forwards: true})
	ctx, leave := context.WithTimeout(t.Context(), time.Hour)
	defer leave()
	go func() { _, _ = r.controller.CreateVolume(ctx, &csi.CreateVolumeRequest{Name: "v"}) }()
	if until := receive(t, begun, "the call"); until.IsZero() || time.Until(until) > time.Hour {
		t.Errorf("it is to end at %s", until)
	}
	leave()
	receive(t, ended, "its end")
}
