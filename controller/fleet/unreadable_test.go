package fleet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/driver/volume"
)

// inPool is a request for a volume in a pool, on one of those nodes.
func inPool(name, pool string, nodes ...string) *csi.CreateVolumeRequest {
	r := request(name, nodes...)
	r.Parameters = map[string]string{volume.KeyPool: pool}
	return r
}

// two returns a fleet of two nodes with two pools each, of which a has more room.
func two(t *testing.T, c fleet.Config) (f *fleet.Fleet, a, b *machine) {
	t.Helper()
	f = settled(c)
	a, b = newMachine(t, "a", 2<<30, "fast", "slow"), newMachine(t, "b", 1<<30, "fast", "slow")
	a.connect(t, f)
	b.connect(t, f)
	return f, a, b
}

// made fails the test unless a request is answered with a volume of that handle.
func made(t *testing.T, f *fleet.Fleet, r *csi.CreateVolumeRequest, handle string) {
	t.Helper()
	if got, err := f.CreateVolume(t.Context(), r); err != nil || got.GetVolume().GetVolumeId() != handle {
		t.Errorf("%s: %v, %v; want %s", r.GetName(), got, err, handle)
	}
}

// refused fails the test unless a request is UNAVAILABLE and names the node and the pool.
func refused(t *testing.T, f *fleet.Fleet, r *csi.CreateVolumeRequest, says ...string) {
	t.Helper()
	got, err := f.CreateVolume(t.Context(), r)
	if code(err) != codes.Unavailable {
		t.Errorf("%s: %v, %v", r.GetName(), got, err)
	}
	for _, one := range append(says, `node "a"`, `pool "slow"`, "its disk is away") {
		if !contains(err, one) {
			t.Errorf("%s: %v; want %s", r.GetName(), err, one)
		}
	}
}

// A pool that its node cannot read hides what is in it, and nothing else.
func TestPoolThatANodeCannotReadStopsNoOther(t *testing.T) {
	f, a, _ := two(t, fleet.Config{Quiet: time.Nanosecond}) // which asks the nodes for what they have before each create
	made(t, f, inPool("v", "slow", "a"), "a/slow/v")
	a.dies("slow", true)
	refused(t, f, inPool("v", "slow", "b"), `volume "v" is on`)
	refused(t, f, inPool("v", "slow"), `volume "v" is on`)
	refused(t, f, inPool("fresh", "slow", "a"), "cannot read")
	made(t, f, inPool("w", "fast", "a"), "a/fast/w")
	made(t, f, inPool("x", "slow"), "b/slow/x")
	made(t, f, inPool("fresh", "slow", "b"), "b/slow/fresh") // nothing was made on a
	for what, list := range map[string]func() error{
		"ListVolumes":   func() error { _, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); return err },
		"ListSnapshots": func() error { _, err := f.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{}); return err },
		"GetCapacity": func() error {
			_, err := f.GetCapacity(t.Context(), &csi.GetCapacityRequest{Parameters: map[string]string{volume.KeyPool: "slow"}, AccessibleTopology: topologies("a")[0]})
			return err
		},
	} {
		if err := list(); code(err) != codes.Unavailable || !contains(err, `pool "slow"`) || (what != "GetCapacity" && !contains(err, `node "a"`)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := f.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: "a/fast/w"}); err != nil {
		t.Errorf("a volume in the other pool: %v", err)
	}
	a.dies("slow", false)
	made(t, f, inPool("v", "slow"), "a/slow/v")
	a.leave()
	if all, err := f.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil || len(all.GetEntries()) != 2 {
		t.Errorf("a node that has left: %v, %v", all, err)
	}
}

// A controller that was started while the pool is dead does not know what is in it, and does not wait for it for ever.
func TestPoolThatWasNeverReadIsWaitedForAMoment(t *testing.T) {
	_, a, b := two(t, fleet.Config{})
	a.dies("slow", true)
	begun := fleet.New(fleet.Config{Settle: time.Hour})
	for _, m := range []*machine{a, b} {
		m.leave()
		m.join(t, begun)
	}
	refused(t, begun, inPool("x", "slow", "a", "b"), "has just begun")
	made(t, begun, inPool("w", "fast", "a", "b"), "a/fast/w")
	later := settled(fleet.Config{})
	for _, m := range []*machine{a, b} {
		m.leave()
		m.join(t, later)
	}
	made(t, later, inPool("x", "slow", "a", "b"), "b/slow/x")
}

// A controller that believes a pool to be dead asks again when the pool matters, and finds it back.
func TestPoolThatIsBackIsFoundByWhoAsksForIt(t *testing.T) {
	f, a, _ := two(t, fleet.Config{Quiet: time.Hour}) // which asks them once, as far as creates go
	a.dies("slow", true)
	a.leave()
	a.join(t, f)
	refused(t, f, inPool("v", "slow", "a"))
	a.dies("slow", false)
	eventually(t, func() bool { _, err := f.CreateVolume(t.Context(), inPool("v", "slow", "a")); return err == nil })
}

// Where a create may have ended is not forgotten when the pool dies.
func TestCreateThatMayHaveEndedInAPoolThatCannotBeReadIsNotMadeElsewhere(t *testing.T) {
	for what, pool := range map[string]string{"named": "slow", "the default one": ""} {
		t.Run(what, func(t *testing.T) {
			known := &cluster{has: map[string]bool{"a": true, "b": true}}
			f := settled(fleet.Config{Cluster: known, Quiet: time.Nanosecond})
			a, b := newMachine(t, "a", 2<<30, "slow", "fast"), newMachine(t, "b", 1<<30, "slow", "fast")
			a.connect(t, f)
			b.connect(t, f)
			ask := func(nodes ...string) *csi.CreateVolumeRequest {
				r := request("v", nodes...)
				if pool != "" {
					r.Parameters = map[string]string{volume.KeyPool: pool}
				}
				return r
			}
			a.hook(nil, func(method string) error {
				if strings.HasSuffix(method, "/CreateVolume") {
					a.dies("slow", true) // it is made, and not synced
					return volume.Errorf(volume.Unavailable, "the disk is away")
				}
				return nil
			})
			if _, err := f.CreateVolume(t.Context(), ask("a")); code(err) == codes.OK {
				t.Fatal("it is made")
			}
			a.hook(nil, nil)
			refused(t, f, ask("b"), `may have been made`)
			a.dies("slow", false)
			made(t, f, ask(), "a/slow/v")
			a.dies("slow", true)
			refused(t, f, ask("b"), `volume "v" is on`)
			a.leave()
			if _, err := f.CreateVolume(t.Context(), ask("b")); code(err) != codes.Unavailable || !contains(err, `"a"`) {
				t.Errorf("the node has left: %v", err)
			}
			known.has["a"] = false
			made(t, f, ask("b"), "b/slow/v")
		})
	}
}

// A node of an earlier release has no inventory, and is asked for its lists as before.
func TestNodeOfAnEarlierReleaseIsAskedForItsLists(t *testing.T) {
	f := settled(fleet.Config{})
	earlier, now := newMachine(t, "a", 1<<30), newMachine(t, "b", 2<<30)
	earlier.earlier = true
	id := volume.ID{Node: "a", Pool: "default", Name: "v"}
	if _, err := earlier.pools.All()[0].Create(t.Context(), volume.Spec{ID: id, Size: volume.Range{RequiredBytes: volume.MiB}}); err != nil {
		t.Fatal(err)
	}
	earlier.connect(t, f)
	now.connect(t, f)
	made(t, f, request("v"), "a/default/v")
	made(t, f, request("w"), "b/default/w")
	earlier.dies("default", true)
	made(t, f, request("x"), "b/default/x")
	earlier.leave()
	if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable {
		t.Errorf("what it had when it left: %v", err)
	}
}

// One pool that cannot be read does not keep what is in the others of its node from being known.
func TestNamesInTheHealthyPoolsOfANodeAreHeard(t *testing.T) {
	f, a, b := two(t, fleet.Config{Quiet: time.Nanosecond})
	other := settled(fleet.Config{})
	a.joinToo(t, other)
	b.joinToo(t, other)
	made(t, f, request("warm"), "a/fast/warm")
	a.dies("slow", true)
	made(t, other, inPool("v", "fast", "a"), "a/fast/v")
	r := inPool("v", "fast", "a", "b")
	r.AccessibilityRequirements.Preferred = topologies("b", "a")
	made(t, f, r, "a/fast/v")
	if names := b.volumes(t); len(names) > 0 {
		t.Errorf("b has %q", names)
	}
}
