package fleet_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/volume"
)

// chosenOn is the request that csi-provisioner sends for a claim whose pod the scheduler has put on the node: the requisite
// topologies are those of the whole cluster, sorted, and the preferred ones are the same, turned so that the node is first.
func chosenOn(name, node string) *csi.CreateVolumeRequest {
	all := []string{"a", "b", "c"}
	i := slices.Index(all, node)
	r := request(name, all...)
	r.AccessibilityRequirements.Preferred = topologies(slices.Concat(all[i:], all[:i])...)
	return r
}

// claims has a machine say that it has a volume of that name in its default pool, or is making it.
func (m *machine) claims(name string, making bool) {
	m.lying(func(answer any) {
		switch said := answer.(type) {
		case *inventory.ListInventoryResponse:
			if making {
				said.Making = append(said.Making, name)
			} else {
				said.Pools[0].Volumes = append(said.Pools[0].Volumes, name)
			}
		}
	})
}

// A node that somebody has taken over claims the name of a volume that is made on another one.
func TestClaimOfANodeThatTheRequestDidNotLeadToIsNotBelieved(t *testing.T) {
	for _, making := range []bool{false, true} {
		c := &cluster{has: map[string]bool{"a": true, "b": true, "c": true}}
		f := settled(fleet.Config{FirstOnly: true, Cluster: c, Quiet: time.Nanosecond})
		nodes := map[string]*machine{}
		for _, name := range []string{"a", "b", "c"} {
			nodes[name] = newMachine(t, name, 64*volume.MiB)
			if name == "a" {
				nodes[name].claims("v", making)
			}
			nodes[name].connect(t, f)
		}
		onlyB := request("v", "b")
		onlyB.AccessibilityRequirements.Preferred = topologies("b")
		if _, err := f.CreateVolume(t.Context(), onlyB); code(err) != codes.AlreadyExists || !contains(err, `node "a"`) || !contains(err, "node b") || !contains(err, "--ignore-node a") {
			t.Errorf("a request that leads to b: %v", err)
		}
		for name, m := range nodes {
			if left := m.volumes(t); len(left) > 0 {
				t.Errorf("node %s has %q", name, left)
			}
		}
	}
}

// The volume is there already, and another node claims its name.
func TestClaimNeverMakesASecondVolume(t *testing.T) {
	c := &cluster{has: map[string]bool{"a": true, "b": true, "c": true}}
	f, nodes := three(t, fleet.Config{FirstOnly: true, Cluster: c, Quiet: time.Nanosecond})
	if _, err := f.CreateVolume(t.Context(), chosenOn("v", "b")); err != nil {
		t.Fatal(err)
	}
	nodes["a"].claims("v", false)
	after := settled(fleet.Config{FirstOnly: true, Cluster: c})
	for _, m := range nodes {
		m.leave()
		m.join(t, after)
	}
	got, err := after.CreateVolume(t.Context(), chosenOn("v", "b"))
	if err != nil || got.GetVolume().GetVolumeId() != "b/default/v" {
		t.Errorf("%v, %v", got, err)
	}
	if left := slices.Concat(nodes["a"].volumes(t), nodes["c"].volumes(t)); len(left) > 0 {
		t.Errorf("other nodes have %q", left)
	}
}

// Another replica has made it on a node that the scheduler chose before, and the answer was lost.
func TestHonestAttemptOnAnotherNodeIsFound(t *testing.T) {
	c := &cluster{has: map[string]bool{"a": true, "b": true, "c": true}}
	before, nodes := three(t, fleet.Config{FirstOnly: true, Cluster: c})
	if _, err := before.CreateVolume(t.Context(), chosenOn("v", "c")); err != nil {
		t.Fatal(err)
	}
	after := settled(fleet.Config{FirstOnly: true, Cluster: c, Patience: time.Second})
	release := make(chan struct{})
	for _, m := range nodes {
		m.leave()
	}
	nodes["b"].hook(func(ctx context.Context, _ string) error { // does not say what it has
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil)
	for _, m := range nodes {
		m.join(t, after)
	}
	if _, err := after.CreateVolume(t.Context(), chosenOn("v", "b")); code(err) != codes.Unavailable || !contains(err, `node "b"`) || !contains(err, `node "c"`) {
		t.Errorf("the chosen node may have it: %v", err)
	}
	close(release)
	eventually(t, func() bool {
		got, err := after.CreateVolume(t.Context(), chosenOn("v", "b"))
		if err != nil && code(err) != codes.Unavailable {
			t.Fatal(err)
		}
		return got.GetVolume().GetVolumeId() == "c/default/v"
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.reported) != 1 || !strings.HasPrefix(c.reported[0], "VolumeElsewhere: ") {
		t.Errorf("events: %q", c.reported)
	}
	if left := slices.Concat(nodes["a"].volumes(t), nodes["b"].volumes(t)); len(left) > 0 {
		t.Errorf("other nodes have %q", left)
	}
}

// A claim and a create that hangs keep a name from being made anywhere, until an administrator says that the node is not to be
// believed, or the node is gone.
func TestClaimEndsWithItsNodeOrWhenItIsIgnored(t *testing.T) {
	for _, ignored := range []bool{false, true} {
		c := &cluster{has: map[string]bool{"a": true, "b": true, "c": true}}
		config := fleet.Config{FirstOnly: true, Cluster: c, Patience: time.Second}
		if ignored {
			config.Ignored = []string{"a"}
		}
		f := settled(config)
		hostile := newMachine(t, "a", 64*volume.MiB)
		hostile.claims("v", false)
		hostile.hook(func(ctx context.Context, method string) error {
			if strings.HasSuffix(method, "CreateVolume") {
				<-ctx.Done()
			}
			return ctx.Err()
		}, nil)
		hostile.connect(t, f)
		for _, name := range []string{"b", "c"} {
			newMachine(t, name, 64*volume.MiB).connect(t, f)
		}
		create := func() (*csi.CreateVolumeResponse, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			return f.CreateVolume(ctx, chosenOn("v", "b"))
		}
		if !ignored {
			for range 2 {
				if got, err := create(); err == nil {
					t.Errorf("made as %v although node a may have it", got)
				}
			}
			hostile.leave()
			if _, err := create(); code(err) != codes.Unavailable || !contains(err, `"a"`) {
				t.Errorf("the node has left: %v", err)
			}
			c.has["a"] = false
		}
		got, err := create()
		if err != nil || got.GetVolume().GetVolumeId() != "b/default/v" {
			t.Errorf("ignored=%t: %v, %v", ignored, got, err)
		}
	}
}

// Outside of Kubernetes any node of the topology may have the volume, and no other.
func TestAnswerFromOutsideOfTheTopologyIsRefused(t *testing.T) {
	f := settled(fleet.Config{})
	hostile := newMachine(t, "m", 64*volume.MiB)
	hostile.claims("v", false)
	hostile.greedy = true
	hostile.connect(t, f)
	newMachine(t, "n", 64*volume.MiB).connect(t, f)
	got, err := f.CreateVolume(t.Context(), request("v", "n"))
	if code(err) != codes.AlreadyExists || !contains(err, `node "m"`) || !contains(err, "node n") {
		t.Errorf("%v, %v", got, err)
	}
}

// A node that somebody has taken over claims the name of a snapshot that is on another one.
func TestClaimOfASnapshotStopsNoRetry(t *testing.T) {
	before, nodes := three(t, fleet.Config{})
	if _, err := before.CreateVolume(t.Context(), request("v", "b")); err != nil {
		t.Fatal(err)
	}
	take := &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: "b/default/v"}
	if _, err := before.CreateSnapshot(t.Context(), take); err != nil {
		t.Fatal(err)
	}
	nodes["a"].lying(lie(func(said *inventory.ListInventoryResponse) {
		said.Pools[0].Snapshots = append(said.Pools[0].Snapshots, "s", "another")
	}))
	after := settled(fleet.Config{})
	for _, m := range nodes {
		m.leave()
		m.join(t, after)
	}
	if _, err := after.CreateVolume(t.Context(), request("warm")); err != nil { // all have been heard
		t.Fatal(err)
	}
	if got, err := after.CreateSnapshot(t.Context(), take); err != nil || got.GetSnapshot().GetSnapshotId() != "b/default/s" {
		t.Errorf("%v, %v", got, err)
	}
	take.Name = "another"
	if _, err := after.CreateSnapshot(t.Context(), take); code(err) != codes.AlreadyExists || !contains(err, "--ignore-node a") {
		t.Errorf("a claim that no other node denies: %v", err)
	}
}
