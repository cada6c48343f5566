package controller_test

import (
	"reflect"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

func (m *machine) published(id string) []string {
	m.Helper()
	answer, err := m.ControllerGetVolume(m.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id})
	m.ok("ControllerGetVolume", err)
	return answer.GetStatus().GetPublishedNodeIds()
}

func (m *machine) unpublish(id, nodeID string) {
	m.Helper()
	_, err := m.ControllerUnpublishVolume(m.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: nodeID})
	m.ok("ControllerUnpublishVolume "+id+" from "+nodeID, err)
}

func TestPublishingAttachesAndUnpublishingDetaches(t *testing.T) {
	m := newMachine(t)
	id := m.create("fast", "v").GetVolumeId()
	for _, readOnly := range []bool{false, true} {
		want := map[string]string{volume.ContextReadOnly: map[bool]string{false: "false", true: "true"}[readOnly]}
		for range 2 {
			if got := m.publish(id, readOnly); !reflect.DeepEqual(got, want) {
				t.Errorf("publish context %v, want %v", got, want)
			}
		}
		if got := m.published(id); !reflect.DeepEqual(got, []string{node}) {
			t.Errorf("published on %v", got)
		}
		for _, elsewhere := range []string{"n2", "no such node"} {
			if m.unpublish(id, elsewhere); len(m.published(id)) != 1 {
				t.Errorf("unpublished from %s, detached here", elsewhere)
			}
		}
		for _, from := range []string{node, "", node} {
			if m.unpublish(id, from); len(m.published(id)) > 0 {
				t.Errorf("unpublished from %q and still on %v", from, m.published(id))
			}
		}
	}
	m.unpublish("fake-vol-id", node)
	m.unpublish(handle("fast", "none"), node)
	m.unpublish("n2/fast/v", node)
}

func TestABlockVolumeThatIsOnlyReadIsAttachedReadOnly(t *testing.T) {
	m := newMachine(t)
	reader := csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	for name, c := range map[string]struct {
		access *csi.VolumeCapability
		want   string
	}{
		"block": {withMode(block(), reader), "true"},
		"mount": {withMode(mount(""), reader), "false"}, // a journal may have to be replayed
	} {
		answer, err := m.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
			VolumeId: m.create("fast", name).GetVolumeId(), NodeId: node, VolumeCapability: c.access,
		})
		if err != nil || answer.GetPublishContext()[volume.ContextReadOnly] != c.want {
			t.Errorf("%s: %v, %v; want %s", name, answer, err, c.want)
		}
	}
}

func TestWhatCannotBePublishedIsRefused(t *testing.T) {
	m := newMachine(t)
	ext4 := func(name string) string {
		return m.make(newVolume(name, func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities, r.CapacityRange = caps(mount("ext4")), exactly(512*mib)
		})).GetVolumeId()
	}
	free, writable, readOnly := ext4("free"), ext4("writable"), ext4("read-only")
	m.publish(writable, false)
	m.publish(readOnly, true)
	publish := func(name string, kind volume.Kind, says, id, nodeID string, access *csi.VolumeCapability, readOnly bool) refusal {
		return refusal{name, kind, says, func(m *machine) (any, error) {
			return m.ControllerPublishVolume(m.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: nodeID, VolumeCapability: access, Readonly: readOnly})
		}}
	}
	m.refuse([]refusal{
		publish("no volume", volume.NotFound, handle("fast", "none"), handle("fast", "none"), node, mount(""), false),
		publish("no volume and no node", volume.NotFound, "fake-vol-id", "fake-vol-id", "fake-node-id", mount(""), false),
		publish("no node", volume.NotFound, "fake-node-id", free, "fake-node-id", mount(""), false),
		publish("attached for writing", volume.Exists, writable, writable, node, mount(""), true),
		publish("attached read-only", volume.Exists, readOnly, readOnly, node, mount(""), false),
		publish("attached for another file system", volume.Exists, writable, writable, node, mount("xfs"), false),
		publish("another file system", volume.Invalid, "created for ext4", free, node, mount("xfs"), false),
	})
}

func TestNoMoreVolumesAreAttachedThanAllowed(t *testing.T) {
	m := machineWith(t, controller.Config{MaxVolumes: 2}, memory.New("slow", node, volume.GiB), memory.New("fast", node, volume.GiB))
	a, b, c := m.create("slow", "a").GetVolumeId(), m.create("fast", "b").GetVolumeId(), m.create("fast", "c").GetVolumeId()
	m.publish(a, false)
	m.publish(b, false)
	m.publish(b, false)
	m.refuse([]refusal{{"one too many", volume.Full, c, func(m *machine) (any, error) {
		return m.ControllerPublishVolume(m.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: c, NodeId: node, VolumeCapability: mount("")})
	}}})
	m.unpublish(a, node)
	m.publish(c, false)
}

func TestTwoVolumesDoNotBothTakeTheLastPlace(t *testing.T) {
	m := machineWith(t, controller.Config{MaxVolumes: 1}, memory.New("fast", node, volume.GiB))
	results := make(chan error)
	ids := []string{m.create("fast", "a").GetVolumeId(), m.create("fast", "b").GetVolumeId(), m.create("fast", "c").GetVolumeId()}
	for _, id := range ids {
		go func() {
			_, err := m.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: mount("")})
			results <- err
		}()
	}
	full := 0
	for range ids {
		if err := <-results; volume.Is(err, volume.Full) {
			full++
		} else if err != nil {
			t.Error(err)
		}
	}
	if full != len(ids)-1 {
		t.Errorf("%d of %d were refused", full, len(ids))
	}
}
