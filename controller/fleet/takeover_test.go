package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/controller/fleet"
)

// The sidecar that asks moves to another replica while nodes are at work for the first one.
func TestReplicaThatTakesOverInTheMiddleOfCreatesMakesNoneTwice(t *testing.T) {
	before, nodes := three(t, fleet.Config{})
	after := settled(fleet.Config{})
	const creates = 30
	asked := func(i int) *csi.CreateVolumeRequest { // too large for all to be on one node
		r := request(fmt.Sprintf("v%d", i))
		r.CapacityRange.RequiredBytes = 5 << 20
		return r
	}
	release, began := make(chan struct{}), make(chan string, 10*creates)
	for _, m := range nodes {
		m.working(func(name string) {
			began <- name
			<-release
		})
	}
	caller, die := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for i := range creates {
		callers.Go(func() { _, _ = before.CreateVolume(caller, asked(i)) })
	}
	working := map[string]bool{}
	for len(working) < creates {
		working[<-began] = true
	}
	die()
	callers.Wait()
	for _, m := range nodes {
		m.leave()
		m.join(t, after)
	}
	for i := 0; i < creates; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := after.CreateVolume(ctx, asked(i)); code(err) != codes.Aborted {
			t.Errorf("a node is still making v%d: %v", i, err)
			i = creates // the others would not do better
		}
		cancel()
	}
	close(release)
	for i := range creates {
		eventually(t, func() bool {
			_, err := after.CreateVolume(t.Context(), asked(i))
			if err != nil && code(err) != codes.Aborted {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	var names []string
	for _, m := range nodes {
		names = append(names, m.volumes(t)...)
	}
	slices.Sort(names)
	if len(names) != creates || len(slices.Compact(names)) != creates {
		t.Errorf("there are %d volumes, of %d names: %q", len(names), len(slices.Compact(slices.Clone(names))), names)
	}
}

// eventually returns when the condition holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came to be")
		}
	}
}

// Nothing is begun for a caller that has left, for it may be asking another replica.
func TestNothingIsBegunForACallerThatHasLeft(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	ctx, leave := context.WithCancel(t.Context())
	nodes["b"].hook(func(_ context.Context, method string) error {
		if method == "/csi.v1.Controller/GetCapacity" { // the last question before a node is chosen
			leave()
		}
		return nil
	}, nil)
	if _, err := f.CreateVolume(ctx, request("v")); err == nil {
		t.Error("it was made")
	}
	for name, m := range nodes {
		if left := m.volumes(t); len(left) > 0 {
			t.Errorf("node %s has %q", name, left)
		}
	}
}

func TestNameThatIsBeingMadeIsRefused(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	release, began := make(chan struct{}), make(chan string, 1)
	nodes["b"].hook(func(_ context.Context, method string) error {
		if method == "/csi.v1.Controller/GetCapacity" { // before a node is chosen, so that none holds the name yet
			began <- method
			<-release
		}
		return nil
	}, nil)
	first := make(chan error, 1)
	go func() {
		_, err := f.CreateVolume(context.Background(), request("v"))
		first <- err
	}()
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := f.CreateVolume(ctx, request("v")); code(err) != codes.Aborted {
		t.Errorf("a second call: %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// The calls of a connection outlive that another one takes its place.
func TestCallGoesOnWhenItsNodeConnectsAgain(t *testing.T) {
	f, nodes := three(t, fleet.Config{})
	release, began := make(chan struct{}), make(chan string, 1)
	nodes["b"].working(func(name string) { began <- name; <-release })
	first := make(chan error, 1)
	go func() {
		_, err := f.CreateVolume(context.Background(), request("v"))
		first <- err
	}()
	<-began
	old, gone := nodes["b"].conn, nodes["b"].gone
	nodes["b"].join(t, f)
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	gone()
	_ = old.Close()
}
