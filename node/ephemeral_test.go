package node_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

func (m *machine) inlineVolumes() []volume.Volume {
	m.Helper()
	var all []volume.Volume
	for _, p := range m.pools.All() {
		volumes, err := p.List(m.Context(), "", 0)
		m.ok("List", err)
		for _, v := range volumes {
			if v.Ephemeral {
				all = append(all, v)
			}
		}
	}
	return all
}

func TestLifeOfAnInlineVolume(t *testing.T) {
	for _, pool := range []string{"fast", "slow"} {
		m := newMachine(t)
		before := m.state()
		for range 2 {
			m.ok("publish", m.publishInline("a", map[string]string{volume.KeyPool: pool}))
		}
		volumes := m.inlineVolumes()
		if len(volumes) != 1 || volumes[0].ID.Pool != pool || volumes[0].Size != size || volumes[0].Claim != (volume.Claim{Namespace: "default", Name: "a"}) {
			t.Fatalf("made %+v", volumes)
		}
		m.sees("pods/a/inline of " + volumes[0].ID.Name + " ext4 read-only=false")
		for range 2 {
			m.ok("unpublish", m.unpublishInline("a"))
		}
		m.ok("what the kubelet does", os.Remove(m.path("pods", "a")))
		m.same("in the end", m.state(), before)
	}
}

// What the configuration does not allow is not made; what was made before it said so stays, and its pod can end.
func TestPoolsTakeTheInlineVolumesThatTheyAllow(t *testing.T) {
	m := newMachine(t)
	m.ephemeral = map[string]node.Ephemeral{"slow": {Refused: true}, "fast": {MaxBytes: size}}
	m.restart()
	before := m.state()
	for text, attributes := range map[string]map[string]string{
		`pool "slow" takes no inline volumes`:                                    {volume.KeyPool: "slow"},
		`pool "fast" takes inline volumes of at most ` + size.String() + `, and`: {volume.KeyPool: "fast", volume.KeySize: strconv.FormatInt(int64(size)+1, 10)},
		size.String() + `, and ` + (2 * size).String():                           {volume.KeySize: strconv.FormatInt(2*int64(size), 10)}, // in the first pool
	} {
		if err := m.publishInline("a", attributes); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v", attributes, err)
		}
		m.ok("what the kubelet does", os.Remove(m.path("pods", "a")))
		m.same("after a refusal", m.state(), before)
	}
	for _, pool := range []string{"fast", "slow"} {
		m.ephemeral = nil
		m.restart()
		m.ok("publish", m.publishInline(pool, map[string]string{volume.KeyPool: pool}))
		m.ephemeral = map[string]node.Ephemeral{pool: {Refused: true}}
		m.restart()
		m.ok("publish again", m.publishInline(pool, map[string]string{volume.KeyPool: pool}))
		m.ok("unpublish", m.unpublishInline(pool))
		m.ok("what the kubelet does", os.Remove(m.path("pods", pool)))
	}
	m.same("in the end", m.state(), before)
}

func TestAnInlineVolumeCanBeReadOnly(t *testing.T) {
	m := newMachine(t)
	req := m.inlineRequest("a", nil)
	req.Readonly = true
	for range 2 {
		_, err := m.NodePublishVolume(t.Context(), req)
		m.ok("publish", err)
	}
	m.sees("pods/a/inline of " + m.inlineVolumes()[0].ID.Name + " ext4 read-only=true")
	m.ok("unpublish", m.unpublishInline("a"))
	if left := m.inlineVolumes(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestAnInlineVolumeIsFoundWhereTheConfigurationPutItBefore(t *testing.T) {
	m := newMachine(t)
	m.ok("publish", m.publishInline("a", map[string]string{volume.KeyPool: "slow"}))
	m.ok("publish", m.publishInline("a", map[string]string{volume.KeyPool: "slow"}))
	m.is("publish otherwise", m.publishInline("a", nil), volume.Exists, `parameter "pool" "slow"`)
	m.ok("unpublish", m.unpublishInline("a"))
	if left := m.inlineVolumes(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestInlineVolumesAreRefused(t *testing.T) {
	type req = csi.NodePublishVolumeRequest
	publish := func(change func(m *machine, r *req)) func(m *machine) (any, error) {
		return func(m *machine) (any, error) {
			r := m.inlineRequest("b", nil)
			change(m, r)
			return m.NodePublishVolume(m.Context(), r)
		}
	}
	refuse(t, []refusal{
		{"an unknown attribute", volume.Invalid, "colour", publish(func(_ *machine, r *req) { r.VolumeContext["colour"] = "red" })},
		{"a size that is none", volume.Invalid, "size", publish(func(_ *machine, r *req) { r.VolumeContext["size"] = "big" })},
		{"a pool that is not configured", volume.Invalid, "tape", publish(func(_ *machine, r *req) { r.VolumeContext["pool"] = "tape" })},
		{"more than there is", volume.Full, "free", publish(func(_ *machine, r *req) { r.VolumeContext["size"] = "1Ti" })},
		{"a block device", volume.Invalid, "block", publish(func(_ *machine, r *req) { r.VolumeCapability = block() })},
		{"the handle of a volume", volume.Invalid, "inline", publish(func(_ *machine, r *req) { r.VolumeId = "n1/fast/fresh" })},
		{"a handle with a control character", volume.Invalid, "control character", publish(func(_ *machine, r *req) { r.VolumeId = "a\x00" })},
		{"a handle of 129 bytes", volume.Invalid, "129 bytes", publish(func(_ *machine, r *req) { r.VolumeId = strings.Repeat("a", 129) })},
		{"a target without its directory", volume.InUse, "is not there", publish(func(m *machine, r *req) { r.TargetPath = m.path("pods", "none", "t") })},
		{"a target where something is mounted", volume.InUse, "is mounted", publish(func(m *machine, r *req) { r.TargetPath = m.target("staged", "a") })},
	})
}

func TestAnInlineVolumeHasOneTarget(t *testing.T) {
	m := newMachine(t)
	m.ok("publish", m.publishInline("a", nil))
	m.is("publish to a second pod", m.publishInline("b", nil), volume.InUse, "pods/a/inline")
	m.ok("unpublish from the second pod, where it is not", m.unpublishInline("b"))
	if len(m.inlineVolumes()) != 1 || len(m.seen()) != 1 {
		t.Errorf("left: %+v, mounted: %v", m.inlineVolumes(), m.seen())
	}
}

// An inline volume's name is that of its handle, and somebody may have asked CreateVolume for it.
func TestAVolumeThatIsNotInlineIsNeverDeleted(t *testing.T) {
	for _, what := range []string{"unpublish", "publish", "publish that fails"} {
		m := newMachine(t)
		name := volume.NameFor(inline)
		m.create(name)
		uuid := m.format(name, volume.Ext4)
		switch what {
		case "unpublish":
			m.ok(what, m.unpublishInline("a"))
		case "publish":
			m.is(what, m.publishInline("a", nil), volume.Exists, "ephemeral")
		default:
			m.m.FailAlways("Mount", volume.Errorf(volume.Internal, "no"))
			m.is(what, m.publishInline("a", map[string]string{volume.KeyPool: "slow"}), volume.Internal, "no")
		}
		if m.found(name).UUID != uuid {
			t.Errorf("after %s it holds %+v", what, m.found(name))
		}
		if left := m.inlineVolumes(); len(left) > 0 {
			t.Errorf("after %s left: %+v", what, left)
		}
	}
}

// After a reboot the kubelet publishes again what the pod has written to.
func TestAnInlineVolumeThatHoldsDataOutlivesAFailedPublish(t *testing.T) {
	for _, failing := range []string{"Mount", "Check", "pool.Attach", "Probe"} {
		m := newMachine(t)
		m.ok("publish", m.publishInline("a", nil))
		v := m.inlineVolumes()[0]
		uuid := m.found(v.ID.Name).UUID
		m.ok("what a reboot does", m.m.Unmount(t.Context(), m.target("inline", "a")))
		m.ok("what a reboot does", m.fast.Pool.Detach(t.Context(), v.ID))
		before := m.state()
		m.watch = func(s step) error {
			if s.Method == failing && !s.After {
				return volume.Errorf(volume.Unavailable, "not now")
			}
			return nil
		}
		m.is("publish while "+failing+" fails", m.publishInline("a", nil), volume.Unavailable, "not now")
		m.watch = func(step) error { return nil }
		m.same("after the failure", m.state(), before)
		m.ok("publish", m.publishInline("a", nil))
		if found := m.found(v.ID.Name); uuid == "" || found.UUID != uuid {
			t.Errorf("it held %s and holds %+v", uuid, found)
		}
		m.ok("unpublish", m.unpublishInline("a"))
		if left := m.inlineVolumes(); len(left) > 0 {
			t.Errorf("left: %+v", left)
		}
	}
}

// What a call that was cut off made, and nobody has written to, goes with the next call that fails.
func TestAnInlineVolumeThatWasNeverUsedGoesWithAFailedPublish(t *testing.T) {
	for _, mark := range []volume.Mark{volume.Fresh, volume.Formatting} {
		m := newMachine(t)
		req := m.inlineRequest("a", nil)
		before := m.state()
		name := volume.NameFor(inline)
		m.create(name, func(s *volume.Spec) {
			s.Ephemeral, s.Claim = true, volume.Claim{Namespace: "default", Name: "a"}
		})
		m.mark(name, mark)
		m.m.Fail("Mount", volume.Errorf(volume.Internal, "no"))
		_, err := m.NodePublishVolume(t.Context(), req)
		m.is("publish", err, volume.Internal, "no")
		m.same("after the failure", m.state(), before)
	}
}

func TestAnInlineVolumeIsCalledByItsHandleOnly(t *testing.T) {
	m := newMachine(t)
	m.ok("publish", m.publishInline("a", nil))
	v := m.inlineVolumes()[0]
	_, err := m.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.ID.String(), TargetPath: m.target("inline", "a")})
	m.ok("unpublish by the ID that an administrator sees", err)
	if !slices.ContainsFunc(m.inlineVolumes(), func(o volume.Volume) bool { return o.ID == v.ID }) {
		t.Error("it was deleted")
	}
	m.ok("unpublish", m.unpublishInline("a"))
	if left := m.inlineVolumes(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}
