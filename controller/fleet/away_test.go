package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/controller/fleet"
)

// What a node has said is still known when it has left.
func TestVolumeOfANodeThatHasLeftIsNotMadeAgain(t *testing.T) {
	known := &cluster{has: map[string]bool{"b": true}}
	f, nodes := three(t, fleet.Config{Cluster: known})
	if _, err := f.CreateVolume(t.Context(), request("v")); err != nil {
		t.Fatal(err)
	}
	nodes["b"].leave()
	if got, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable || !contains(err, `"b"`) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := f.CreateVolume(t.Context(), request("w")); err != nil {
		t.Errorf("others must not wait for it: %v", err)
	}
	known.has["b"] = false
	if got, err := f.CreateVolume(t.Context(), request("v")); err != nil || got.GetVolume().GetVolumeId() != "c/default/v" {
		t.Errorf("the node is gone for good: %v, %v", got, err)
	}
}

func TestVolumeThatMayBeOnANodeThatIsGoneForGoodIsMadeElsewhere(t *testing.T) {
	known := &cluster{has: map[string]bool{"b": true}}
	f, nodes := three(t, fleet.Config{Cluster: known})
	nodes["b"].hook(nil, func(method string) error {
		if strings.HasSuffix(method, "/CreateVolume") {
			nodes["b"].leave()
		}
		return nil
	})
	if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable {
		t.Error(err)
	}
	known.has["b"] = false
	if got, err := f.CreateVolume(t.Context(), request("v")); err != nil || got.GetVolume().GetVolumeId() != "c/default/v" {
		t.Errorf("%v, %v", got, err)
	}
	if len(known.reported) != 1 || !strings.Contains(known.reported[0], "NodeGone") {
		t.Errorf("reported: %q", known.reported)
	}
	copied := request("copy")
	copied.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: "b/default/v"}}}
	if _, err := f.CreateVolume(t.Context(), copied); code(err) != codes.NotFound {
		t.Errorf("a copy of what was on it: %v", err)
	}
}

// A node that is started again is away for a moment, and its pods need not go elsewhere.
func TestNodeOfThePodThatHasJustLeftIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		settle time.Duration
		want   codes.Code
	}{{time.Hour, codes.Unavailable}, {time.Nanosecond, codes.ResourceExhausted}} {
		f := fleet.New(fleet.Config{FirstOnly: true, Settle: c.settle})
		nodes := map[string]*machine{}
		for _, name := range []string{"a", "b"} {
			nodes[name] = newMachine(t, name, 1<<30)
			nodes[name].connect(t, f)
		}
		nodes["a"].leave()
		r := request("v", "a", "b")
		r.AccessibilityRequirements.Preferred = topologies("a", "b")
		if got, err := f.CreateVolume(t.Context(), r); code(err) != c.want || !contains(err, "a") {
			t.Errorf("waiting for %s: %v, %v", c.settle, got, err)
		}
		r = request("v", "a", "b")
		r.AccessibilityRequirements.Preferred = topologies("b", "a")
		if _, err := f.CreateVolume(t.Context(), r); err != nil {
			t.Errorf("another node has to wait: %v", err)
		}
	}
}

// One node that hangs must not keep all others from being used.
func TestNodeThatHangsStopsNobodyElse(t *testing.T) {
	f := fleet.New(fleet.Config{Settle: time.Nanosecond, Patience: 2 * time.Second})
	release := make(chan struct{})
	defer close(release)
	for _, name := range []string{"a", "b"} {
		m := newMachine(t, name, 1<<30)
		if name == "a" {
			m.hook(func(ctx context.Context, _ string) error {
				select {
				case <-release:
				case <-ctx.Done():
				}
				return ctx.Err()
			}, nil)
		}
		m.connect(t, f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	for _, name := range []string{"v", "w"} {
		if got, err := f.CreateVolume(ctx, request(name)); err != nil || got.GetVolume().GetVolumeId() != "b/default/"+name {
			t.Errorf("%v, %v", got, err)
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	// It is not waited for again and again either: for each further kind of volume its room is to be asked.
	began = time.Now()
	for n := range 30 {
		r := request("again")
		r.VolumeCapabilities[0].AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{MountFlags: []string{fmt.Sprintf("commit=%d", n+1)}}}
		if _, err := f.CreateVolume(ctx, r); err != nil {
			t.Fatal(err)
		}
		if _, err := f.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: "b/default/again"}); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 30*time.Second { // half of what 30 times Patience are
		t.Errorf("30 creates took %s", took)
	}
	if all, err := f.GetCapacity(ctx, &csi.GetCapacityRequest{}); err != nil || all.GetAvailableCapacity() != 1<<30-2<<20 {
		t.Errorf("%v, %v", all, err)
	}
}
