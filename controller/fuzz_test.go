package controller_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

// secret is put into every request that has room for secrets, and must never come back.
const secret = "correct-horse-battery-staple"

// rpc is one call with an empty request of its kind.
type rpc struct {
	request func() proto.Message
	call    func(ctx context.Context, s *controller.Server, req proto.Message) (any, error)
}

func callOf[Q proto.Message, A any](do func(*controller.Server, context.Context, Q) (A, error)) rpc {
	return rpc{
		request: func() proto.Message {
			var req Q
			return req.ProtoReflect().New().Interface()
		},
		call: func(ctx context.Context, s *controller.Server, req proto.Message) (any, error) {
			return do(s, ctx, req.(Q))
		},
	}
}

func rpcs() []rpc {
	return []rpc{
		callOf((*controller.Server).CreateVolume), callOf((*controller.Server).DeleteVolume),
		callOf((*controller.Server).ControllerPublishVolume), callOf((*controller.Server).ControllerUnpublishVolume),
		callOf((*controller.Server).ValidateVolumeCapabilities), callOf((*controller.Server).ListVolumes),
		callOf((*controller.Server).ControllerGetVolume), callOf((*controller.Server).GetCapacity),
		callOf((*controller.Server).CreateSnapshot), callOf((*controller.Server).DeleteSnapshot),
		callOf((*controller.Server).ListSnapshots), callOf((*controller.Server).GetSnapshot),
		callOf((*controller.Server).ControllerExpandVolume), callOf((*controller.Server).ControllerGetCapabilities),
		callOf((*controller.Server).GroupControllerGetCapabilities), callOf((*controller.Server).CreateVolumeGroupSnapshot),
		callOf((*controller.Server).DeleteVolumeGroupSnapshot), callOf((*controller.Server).GetVolumeGroupSnapshot),
	}
}

// seed is the bytes by which script makes the call of that number with the given raw request.
func seed(number int, req proto.Message) []byte {
	raw, err := proto.Marshal(req)
	if err != nil || len(raw) > 255 {
		panic(fmt.Sprint(len(raw), err))
	}
	return append([]byte{byte(number), 1, byte(len(raw))}, raw...)
}

func FuzzRequests(f *testing.F) {
	f.Add(slices.Concat(
		seed(0, newVolume("d", from(ofSnapshot(handle("fast", "s"))))),
		seed(2, &csi.ControllerPublishVolumeRequest{VolumeId: handle("fast", "d"), NodeId: node, VolumeCapability: mount("")}),
		seed(12, &csi.ControllerExpandVolumeRequest{VolumeId: handle("fast", "d"), CapacityRange: exactly(16 * mib)}),
		seed(3, &csi.ControllerUnpublishVolumeRequest{VolumeId: handle("fast", "d")}), seed(1, &csi.DeleteVolumeRequest{VolumeId: handle("fast", "d")}),
		seed(5, &csi.ListVolumesRequest{MaxEntries: 1}), seed(10, &csi.ListSnapshotsRequest{SourceVolumeId: handle("fast", "a")})))
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		data := make([]byte, 600)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := machineWith(t, controller.Config{MaxVolumes: 2}, memory.New("slow", node, 2*volume.GiB), memory.New("fast", node, volume.GiB))
		m.group("g", m.create("fast", "a").GetVolumeId(), m.create("fast", "b").GetVolumeId())
		m.snapshot("s", handle("fast", "a"))
		m.create("slow", "c")
		all, s := rpcs(), script(data)
		for calls := 0; len(s) > 0 && calls < 32; calls++ {
			r := all[s.choose(len(all))]
			req := s.request(r)
			if req == nil {
				continue
			}
			before := m.state()
			answer, err := r.call(t.Context(), m.Server, req)
			if reflect.ValueOf(answer).IsNil() != (err != nil) {
				t.Fatalf("%T %v: answered %v with error %v", req, req, answer, err)
			}
			after := m.state()
			if err != nil {
				m.checkError(req, err, before, after)
			}
			if after != before {
				m.wellFormed()
			}
		}
	})
}

func (m *machine) checkError(req proto.Message, err error, before, after string) {
	m.Helper()
	checkText(m, err)
	if volume.Is(err, volume.Internal) || strings.Contains(err.Error(), secret) {
		m.Errorf("%v: %v", req, err)
	}
	if after != before {
		m.Errorf("%v was refused with %v and changed\n%sto\n%s", req, err, before, after)
	}
}

// wellFormed fails the test unless every volume and snapshot there is can be listed, found and
// understood.
func (m *machine) wellFormed() {
	m.Helper()
	volumes, err := m.ListVolumes(m.Context(), &csi.ListVolumesRequest{})
	m.ok("ListVolumes", err)
	var handles []string
	for _, e := range volumes.GetEntries() {
		v := e.GetVolume()
		handles = append(handles, v.GetVolumeId())
		want := &csi.Volume{VolumeId: v.GetVolumeId(), CapacityBytes: max(1, v.GetCapacityBytes()), ContentSource: v.GetContentSource(), AccessibleTopology: here()}
		if _, err := volume.ParseID(v.GetVolumeId()); err != nil || len(v.GetVolumeId()) > 128 || !proto.Equal(v, want) {
			m.Errorf("listed volume %v: %v", v, err)
		}
		if one, err := m.ControllerGetVolume(m.Context(), &csi.ControllerGetVolumeRequest{VolumeId: v.GetVolumeId()}); err != nil || !proto.Equal(one.GetVolume(), v) {
			m.Errorf("listed %v, found %v, %v", v, one, err)
		}
	}
	snapshots, err := m.ListSnapshots(m.Context(), &csi.ListSnapshotsRequest{})
	m.ok("ListSnapshots", err)
	for _, e := range snapshots.GetEntries() {
		sn := e.GetSnapshot()
		if sn.GetSizeBytes() <= 0 || sn.GetSourceVolumeId() == "" || !sn.GetCreationTime().IsValid() {
			m.Errorf("listed snapshot %v", sn)
		}
		if one, err := m.GetSnapshot(m.Context(), &csi.GetSnapshotRequest{SnapshotId: sn.GetSnapshotId()}); err != nil || !proto.Equal(one.GetSnapshot(), sn) {
			m.Errorf("listed %v, found %v, %v", sn, one, err)
		}
	}
	if !slices.IsSorted(handles) || len(slices.Compact(slices.Clone(handles))) != len(handles) {
		m.Errorf("not in order, or twice: %v", handles)
	}
	for _, p := range m.pools {
		if status, err := p.(pool.Snapshotter).Status(m.Context()); err != nil || status.FreeBytes < 0 || status.FreeBytes > status.TotalBytes {
			m.Errorf("pool %s: %+v, %v", p.Name(), status, err)
		}
	}
}
