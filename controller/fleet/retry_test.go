package fleet_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/driver/volume"
)

// However a create ends, its retry finds the volume where the first attempt made it.
func TestRetryNeverMakesASecondVolume(t *testing.T) {
	count := func(nodes map[string]*machine) (n int) {
		for _, m := range nodes {
			n += len(m.volumes(t))
		}
		return n
	}
	t.Run("the answer was lost with the connection", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{})
		nodes["b"].hook(nil, func(method string) error {
			if strings.HasSuffix(method, "/CreateVolume") {
				nodes["b"].leave()
			}
			return nil
		})
		if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable {
			t.Fatal(err)
		}
		// b, which has it, is away: it must not be made elsewhere.
		if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable || !contains(err, `"b"`) {
			t.Errorf("%v", err)
		}
		nodes["b"].hook(nil, nil)
		nodes["b"].join(t, f)
		if made, err := f.CreateVolume(t.Context(), request("v")); err != nil || made.GetVolume().GetVolumeId() != "b/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 1 {
			t.Errorf("it was made %d times", n)
		}
	})
	// The node has made it, and does not say so.
	for what, c := range map[string]struct {
		answer codes.Code
		retry  *csi.CreateVolumeRequest
	}{
		"the node answered that it is not sure": {codes.DeadlineExceeded, request("v")},
		"the node failed after it had made it":  {codes.Internal, request("v", "a", "b")},
	} {
		t.Run(what, func(t *testing.T) {
			f, nodes := three(t, fleet.Config{})
			nodes["b"].hook(nil, func(method string) error {
				if strings.HasSuffix(method, "/CreateVolume") {
					return status.Error(c.answer, "it says so")
				}
				return nil
			})
			if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != c.answer {
				t.Fatal(err)
			}
			nodes["b"].hook(nil, nil)
			fill := request("fill", "b") // b has no longer the most room
			fill.CapacityRange.RequiredBytes = 100 << 20
			if _, err := f.CreateVolume(t.Context(), fill); err != nil {
				t.Fatal(err)
			}
			if made, err := f.CreateVolume(t.Context(), c.retry); err != nil || made.GetVolume().GetVolumeId() != "b/default/v" {
				t.Errorf("%v, %v", made, err)
			}
			if n := count(nodes); n != 2 {
				t.Errorf("there are %d volumes", n)
			}
		})
	}
	t.Run("the node failed before, and another one is asked for", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{})
		nodes["b"].hook(func(_ context.Context, method string) error {
			if strings.HasSuffix(method, "/CreateVolume") {
				return status.Error(codes.Unavailable, "the disk is away")
			}
			return nil
		}, nil)
		if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.Unavailable {
			t.Fatal(err)
		}
		if made, err := f.CreateVolume(t.Context(), request("v", "a")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 1 {
			t.Errorf("it was made %d times", n)
		}
	})
	t.Run("it was removed elsewhere, and the name is used again", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{})
		if _, err := f.CreateVolume(t.Context(), request("v", "a")); err != nil {
			t.Fatal(err)
		}
		if err := nodes["a"].pools.All()[0].Delete(t.Context(), volume.ID{Node: "a", Pool: "default", Name: "v"}); err != nil {
			t.Fatal(err)
		}
		if made, err := f.CreateVolume(t.Context(), request("v", "c")); err != nil || made.GetVolume().GetVolumeId() != "c/default/v" {
			t.Errorf("%v, %v", made, err)
		}
	})
	t.Run("another replica made it", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{Quiet: time.Nanosecond})
		other := settled(fleet.Config{})
		for _, m := range nodes {
			m.joinToo(t, other)
		}
		if _, err := f.CreateVolume(t.Context(), request("warm")); err != nil {
			t.Fatal(err)
		}
		if made, err := other.CreateVolume(t.Context(), request("v", "a")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Fatalf("%v, %v", made, err)
		}
		if made, err := f.CreateVolume(t.Context(), request("v", "a", "b", "c")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 2 {
			t.Errorf("there are %d volumes", n)
		}
	})
	t.Run("another replica made it, and the node of an attempt here has no room", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{Quiet: time.Nanosecond})
		other := settled(fleet.Config{})
		for _, m := range nodes {
			m.joinToo(t, other)
		}
		nodes["b"].hook(func(_ context.Context, method string) error {
			if strings.HasSuffix(method, "/CreateVolume") {
				return status.Error(codes.DeadlineExceeded, "it may go on")
			}
			return nil
		}, nil)
		if _, err := f.CreateVolume(t.Context(), request("v")); code(err) != codes.DeadlineExceeded {
			t.Fatal(err)
		}
		nodes["b"].hook(nil, nil)
		fill := request("fill", "b")
		fill.CapacityRange.RequiredBytes = 128 << 20
		if _, err := other.CreateVolume(t.Context(), fill); err != nil {
			t.Fatal(err)
		}
		if made, err := other.CreateVolume(t.Context(), request("v", "a")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Fatalf("%v, %v", made, err)
		}
		if made, err := f.CreateVolume(t.Context(), request("v", "a", "b", "c")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 2 {
			t.Errorf("there are %d volumes", n)
		}
	})
	t.Run("the controller was started anew", func(t *testing.T) {
		f, nodes := three(t, fleet.Config{})
		if _, err := f.CreateVolume(t.Context(), request("v", "a")); err != nil {
			t.Fatal(err)
		}
		for _, m := range nodes {
			m.leave()
		}
		anew := fleet.New(fleet.Config{}) // as it is within its first seconds
		nodes["b"].join(t, anew)
		if _, err := anew.CreateVolume(t.Context(), request("v", "a", "b")); code(err) != codes.Unavailable || !contains(err, `"a"`) {
			t.Errorf("a node that may have it has not connected yet: %v", err)
		}
		nodes["a"].join(t, anew)
		if made, err := anew.CreateVolume(t.Context(), request("v", "a", "b")); err != nil || made.GetVolume().GetVolumeId() != "a/default/v" {
			t.Errorf("%v, %v", made, err)
		}
		if n := count(nodes); n != 1 {
			t.Errorf("it was made %d times", n)
		}
	})
}
