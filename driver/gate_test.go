package driver

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/driver/volume"
)

func TestASecondCallIsToldAtOnceThatTheNameIsHeld(t *testing.T) {
	s, begun, proceed := blocking()
	s.capacity = func(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
		return &csi.GetCapacityResponse{}, nil
	}
	r := start(t, Config{Controller: s, Node: s})
	first := make(chan error, 1)
	go func() {
		_, err := r.controller.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
		first <- err
	}()
	receive(t, begun, "the first call")

	_, err := r.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
	wantCode(t, err, codes.Aborted)
	if err == nil || !strings.Contains(err.Error(), `volume "v"`) || !strings.Contains(err.Error(), "DeleteVolume") {
		t.Errorf("the message names not the volume and the call that has it: %v", err)
	}
	_, err = r.node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: handle("v")})
	wantCode(t, err, codes.Aborted) // of another service, but of the same volume
	_, err = r.node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: handle("other")})
	wantCode(t, err, codes.Unimplemented) // which is what this handler answers
	if _, err := r.controller.GetCapacity(t.Context(), &csi.GetCapacityRequest{}); err != nil {
		t.Errorf("a call that reads: %v", err)
	}

	close(proceed)
	if err := receive(t, first, "the first call's answer"); err != nil {
		t.Fatal(err)
	}
}

func TestTheNameIsFreeBeforeTheCallIsAnswered(t *testing.T) {
	g := newGate()
	var free atomic.Bool
	_, err := g.hold(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle("v")}, info("DeleteVolume"),
		func(context.Context, any) (any, error) {
			g.mu.Lock() // so that the name cannot be given back before the timer allows it
			time.AfterFunc(20*time.Millisecond, func() {
				free.Store(true)
				g.mu.Unlock()
			})
			return &csi.DeleteVolumeResponse{}, nil
		})
	if err != nil || !free.Load() {
		t.Errorf("answered with the name still held: %t, %v", !free.Load(), err)
	}
}

func TestWorkOutlivesItsCallerAndTheRetryFindsItDone(t *testing.T) {
	begun, proceed := make(chan context.Context, 8), make(chan struct{})
	var made atomic.Int32
	s := &services{create: func(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
		if made.Load() == 0 {
			begun <- ctx
			<-proceed
			made.Add(1)
		}
		return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: handle(r.GetName())}}, nil
	}}
	r := start(t, Config{Controller: s})
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := r.controller.CreateVolume(ctx, &csi.CreateVolumeRequest{Name: "v"})
		first <- err
	}()
	work := receive(t, begun, "the call")
	leave()
	wantCode(t, receive(t, first, "the caller to be let go"), codes.Canceled)
	eventually(t, "the server to notice", func() bool { return len(r.log.lines("CreateVolume", `code="Canceled"`)) == 1 })
	if _, hasDeadline := work.Deadline(); work.Err() != nil || hasDeadline {
		t.Errorf("the work's context ended with its caller: %v", work.Err())
	}
	_, err := r.controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
	wantCode(t, err, codes.Aborted)

	close(proceed)
	eventually(t, "the work to end", func() bool {
		_, err = r.controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
		return err == nil
	})
	if made.Load() != 1 {
		t.Errorf("it was made %d times", made.Load())
	}
	eventually(t, "a line that says how it ended", func() bool {
		return len(r.log.lines("work ended after its caller had left", `name="v"`, `code="OK"`)) == 1
	})
}

func TestTheCallersDeadlineIsAnswered(t *testing.T) {
	g := newGate()
	proceed := make(chan struct{})
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Millisecond))
	defer cancel()
	resp, err := g.hold(ctx, &csi.DeleteVolumeRequest{VolumeId: handle("v")}, info("DeleteVolume"),
		func(context.Context, any) (any, error) {
			<-proceed
			return &csi.DeleteVolumeResponse{}, nil
		})
	if code, _ := codeOf(err); resp != nil || code != codes.DeadlineExceeded {
		t.Errorf("answer %v, %s: %v", resp, code, err)
	}
	close(proceed)
	if err := g.drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWorkOfACallerThatHasLeftAlreadyIsNotBegun(t *testing.T) {
	g := newGate()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := g.hold(ctx, &csi.DeleteVolumeRequest{VolumeId: handle("v")}, info("DeleteVolume"),
		func(context.Context, any) (any, error) {
			t.Error("it was begun")
			return nil, nil
		})
	if code, _ := codeOf(err); code != codes.Canceled {
		t.Errorf("%s: %v", code, err)
	}
}

func TestAHandlerThatEndsItsGoroutineLetsGoOfTheName(t *testing.T) {
	g := newGate()
	for range 2 {
		_, err := g.hold(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle("v")}, info("DeleteVolume"),
			func(context.Context, any) (any, error) {
				runtime.Goexit()
				return nil, nil
			})
		if !volume.Is(err, volume.Internal) {
			t.Errorf("%s: %v", volume.KindOf(err), err)
		}
	}
}

func TestManyMayCopyFromOneSource(t *testing.T) {
	fromSnapshot := func(name, snapshot string) *csi.CreateVolumeRequest {
		return &csi.CreateVolumeRequest{Name: name, VolumeContentSource: &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle(snapshot)}}}}
	}
	fromVolume := func(name, source string) *csi.CreateVolumeRequest {
		return &csi.CreateVolumeRequest{Name: name, VolumeContentSource: &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: handle(source)}}}}
	}
	group := &csi.CreateVolumeGroupSnapshotRequest{Name: "g", SourceVolumeIds: []string{handle("a"), handle("b"), handle("a")}}
	for _, c := range []struct {
		first, second any
		together      bool
	}{
		{fromSnapshot("v1", "s"), fromSnapshot("v2", "s"), true},
		{fromSnapshot("v1", "s"), fromSnapshot("v1", "s"), false},
		{fromSnapshot("v1", "s"), &csi.DeleteSnapshotRequest{SnapshotId: handle("s")}, false},
		{&csi.DeleteSnapshotRequest{SnapshotId: handle("s")}, fromSnapshot("v1", "s"), false},
		{fromVolume("v1", "a"), fromVolume("v2", "a"), true},
		{fromVolume("v1", "a"), &csi.DeleteVolumeRequest{VolumeId: handle("a")}, false},
		{fromVolume("v1", "a"), &csi.DeleteVolumeRequest{VolumeId: handle("b")}, true},
		{fromVolume("v1", "v1"), fromVolume("v2", "v1"), false},
		{fromVolume("v1", "a"), &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle("a")}, true},
		{&csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle("a")}, &csi.NodeExpandVolumeRequest{VolumeId: handle("a")}, false},
		{group, &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle("a")}, true},
		{group, &csi.DeleteVolumeRequest{VolumeId: handle("b")}, false},
		{group, &csi.DeleteSnapshotRequest{SnapshotId: handle(volume.MemberName("g", "b"))}, false},
		{group, &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: handle("g")}, false},
		{group, &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: handle("h"), SnapshotIds: []string{handle(volume.MemberName("g", "a"))}}, false},
		{group, &csi.CreateVolumeRequest{Name: "g"}, true},
		{&csi.CreateVolumeRequest{}, &csi.CreateVolumeRequest{}, true}, // they name nothing, and the handler refuses both
	} {
		wantTogether(t, c.first, c.second, c.together)
	}
}

// Pods of one node that share a volume come and go at once, and while it is copied.
func TestTargetsOfOneVolumeDoNotWaitForEachOther(t *testing.T) {
	publish := func(target string) any {
		return &csi.NodePublishVolumeRequest{VolumeId: handle("v"), TargetPath: target}
	}
	unpublish := func(target string) any {
		return &csi.NodeUnpublishVolumeRequest{VolumeId: handle("v"), TargetPath: target}
	}
	snapshot := &csi.CreateSnapshotRequest{Name: "s", SourceVolumeId: handle("v")}
	for _, c := range []struct {
		first, second any
		together      bool
	}{
		{unpublish("/pods/1"), unpublish("/pods/2"), true},
		{unpublish("/pods/1"), unpublish("/pods/1"), false},
		{unpublish("/pods/1"), publish("/pods/1"), false},
		{unpublish("/pods/1"), publish("/pods/2"), true},
		{publish("/pods/1"), publish("/pods/2"), true},
		{publish("/pods/1"), publish("/pods//1/"), false},
		{snapshot, unpublish("/pods/1"), true},
		{snapshot, publish("/pods/1"), true},
		{snapshot, &csi.NodeUnstageVolumeRequest{VolumeId: handle("v")}, false},
		{unpublish("/pods/1"), &csi.NodeUnstageVolumeRequest{VolumeId: handle("v")}, false},
		{publish("/pods/1"), &csi.DeleteVolumeRequest{VolumeId: handle("v")}, false},
		{&csi.NodeUnpublishVolumeRequest{VolumeId: "csi-1", TargetPath: "/pods/1"}, &csi.NodeUnpublishVolumeRequest{VolumeId: "csi-1", TargetPath: "/pods/2"}, false},
	} {
		wantTogether(t, c.first, c.second, c.together)
	}
}

func wantTogether(t *testing.T, first, second any, together bool) {
	t.Helper()
	g := newGate()
	release, err := g.take("First", mustName(t, first))
	if err != nil {
		t.Fatal(err)
	}
	releaseSecond, err := g.take("Second", mustName(t, second))
	if (err == nil) != together || (err != nil && !volume.Is(err, volume.Busy)) {
		t.Errorf("%T %v\nand %T %v\n together: %v", first, first, second, second, err)
	}
	if err == nil {
		releaseSecond()
	}
	release()
	if len(g.held) != 0 {
		t.Errorf("held after both ended: %v", g.held)
	}
}

func TestOneHolderOfANameAtATimeUnderLoad(t *testing.T) {
	g := newGate()
	var inside [3]atomic.Int32
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 300 {
				a, b := (worker+i)%3, (worker*i)%3
				release, err := g.take("Test", names{exclusive: []string{fmt.Sprint("volume ", a)}, shared: []string{fmt.Sprint("volume ", b)}})
				if err != nil {
					continue
				}
				if inside[a].Add(1) != 1 {
					t.Error("two hold one name")
				}
				inside[a].Add(-1)
				release()
				g.working.Done()
			}
		})
	}
	group.Wait()
	if len(g.held) != 0 {
		t.Errorf("held after all ended: %v", g.held)
	}
}
