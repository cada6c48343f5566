package suite

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// The classes of the tests, made when loam is installed.
const (
	snapshotClass = "loam-test"
	groupClass    = "loam-test"
)

// snapshot takes a snapshot of a claim and waits until it can be used.
func (s *space) snapshot(name, ofClaim string) {
	s.Helper()
	s.create(snapshots, &unstructured.Unstructured{Object: map[string]any{
		"kind": "VolumeSnapshot", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"volumeSnapshotClassName": snapshotClass, "source": map[string]any{"persistentVolumeClaimName": ofClaim}},
	}})
	s.usable(snapshots, name)
}

// usable waits until a snapshot or a group of them is ready, and fails at the first error in its status.
func (s *space) usable(k kind, name string) *unstructured.Unstructured {
	s.Helper()
	var is *unstructured.Unstructured
	var said string
	s.follow(s.resource(k), fmt.Sprintf("%s %q", k, name), "metadata.name="+name, "ready", func(u *unstructured.Unstructured) bool {
		if u == nil {
			return false
		}
		is = u
		ready, _, _ := unstructured.NestedBool(u.Object, "status", "readyToUse")
		said, _, _ = unstructured.NestedString(u.Object, "status", "error", "message")
		return ready
	})
	if said != "" {
		s.Logf("%s %q is ready, after: %s", k, name, said)
	}
	return is
}

// snapshotAndRestore restores what was there at the time of the snapshot, in both kinds of file system, and beside
// the volume that it is of.
func snapshotAndRestore(s *space) {
	for class, size := range map[string]string{late: "64Mi", xfs: "320Mi"} {
		data, restored := "data-"+class, "restored-"+class
		s.create(claims, claim(data, class, size))
		p := s.run(pod(data, mounts(data)))
		s.writes(data, "/"+data+"/file", "before")
		s.snapshot(class, data)
		s.writes(data, "/"+data+"/file", "after")
		s.create(claims, claim(restored, class, size, from(snapshots, class)))
		q := s.run(pod(restored, mounts(restored)))
		if p.Spec.NodeName != q.Spec.NodeName {
			s.Fatalf("the volume is on %q and what was restored of it on %q", p.Spec.NodeName, q.Spec.NodeName)
		}
		s.reads(restored, "/"+restored+"/file", "before")
		s.reads(data, "/"+data+"/file", "after")
		// What was restored is a volume as any other.
		s.writes(restored, "/"+restored+"/file", "own")
		s.reads(data, "/"+data+"/file", "after")
		s.removeSnapshot(class)
	}
}

// removeSnapshot removes a snapshot and waits until the node has done it.
func (s *space) removeSnapshot(name string) {
	s.Helper()
	u := s.usable(snapshots, name)
	content, _, _ := unstructured.NestedString(u.Object, "status", "boundVolumeSnapshotContentName")
	s.remove(snapshots, name)
	s.gone(contents, content)
}

// restoreOfWhatIsGone: a snapshot outlives its volume.
func restoreOfWhatIsGone(s *space) {
	s.create(claims, claim("data", late, "64Mi"))
	s.run(pod("main", mounts("data")))
	s.writes("main", "/data/file", "before")
	s.snapshot("kept", "data")
	pv := s.bound("data")
	s.remove(pods, "main")
	s.remove(claims, "data")
	s.gone(volumes, pv.Name)
	s.create(claims, claim("restored", late, "64Mi", from(snapshots, "kept")))
	s.run(pod("main", mounts("restored")))
	s.reads("main", "/restored/file", "before")
	s.removeSnapshot("kept")
}

// cloneOfRunning clones a volume that is written to, in both kinds of file system; the xfs to a larger one.
func cloneOfRunning(s *space) {
	for class, size := range map[string][2]string{late: {"64Mi", "64Mi"}, xfs: {"320Mi", "640Mi"}} {
		data, clone := "data-"+class, "clone-"+class
		s.create(claims, claim(data, class, size[0]))
		s.run(pod(data, mounts(data)))
		s.writes(data, "/"+data+"/file", "original")
		s.create(claims, claim(clone, class, size[1], from(claims, data)))
		s.run(pod(clone, mounts(clone)))
		s.reads(clone, "/"+clone+"/file", "original")
		s.writes(clone, "/"+clone+"/file", "clone")
		s.reads(data, "/"+data+"/file", "original")
		if is, was := s.kibibytes(clone, "/"+clone), s.kibibytes(data, "/"+data); class == xfs && is < was*3/2 {
			s.Fatalf("the clone's file system has %d KiB, and its source %d", is, was)
		}
	}
}

func cloneOfBlock(s *space) {
	s.create(claims, claim("disk", late, "64Mi", blockMode))
	s.run(pod("main", devices("disk")))
	s.must("main", "printf original | dd of=/dev/disk bs=4096 seek=100 conv=fsync,notrunc")
	s.create(claims, claim("clone", late, "64Mi", blockMode, from(claims, "disk")))
	s.run(pod("clone", devices("clone")))
	if got := s.must("clone", "dd if=/dev/clone bs=4096 skip=100 count=1 2>/dev/null | head -c 8"); got != "original" {
		s.Fatalf("the clone has %q where %q was written", got, "original")
	}
}

// blockAsFileSystem restores a block volume, in which its user has made a file system, to be mounted: it is
// refused with the reason, and done where the class says so.
func blockAsFileSystem(s *space) {
	s.create(claims, claim("disk", late, "64Mi", blockMode))
	p := s.run(pod("main", devices("disk")))
	handle := s.bound("disk").Spec.CSI.VolumeHandle
	row := strings.Fields(grep(s.volumesOn(p.Spec.NodeName), handle)) // HANDLE SIZE, FILE SYSTEM, MARK, DEVICE
	if len(row) < 5 || row[3] != "block" {
		s.Fatalf("the volume is shown as %q", row)
	}
	// The image of pods has no mkfs, so it is done for the user.
	_, err := s.exec(s.ctx, system, s.nodePod(p.Spec.NodeName).Name, "mkfs.ext4", "-q", row[4])
	ok(s, "mkfs", err)
	s.snapshot("raw", "disk")
	// Kubernetes wants a word of its own, of who may write contents, before the mode of a volume changes.
	content, _, _ := unstructured.NestedString(s.usable(snapshots, "raw").Object, "status", "boundVolumeSnapshotContentName")
	patch := `{"metadata":{"annotations":{"snapshot.storage.kubernetes.io/allow-volume-mode-change":"true"}}}`
	_, err = s.resource(contents).Patch(s.ctx, content, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	ok(s, "allow the change of mode", err)
	s.create(claims, claim("refused", late, "64Mi", from(snapshots, "raw")))
	s.create(pods, pod("refused", mounts("refused")))
	s.event("refused", volumeParameter)
	s.create(claims, claim("allowed", trusting, "64Mi", from(snapshots, "raw")))
	s.run(pod("allowed", mounts("allowed")))
	s.writes("allowed", "/allowed/file", "mounted")
	s.remove(pods, "refused")
	s.remove(claims, "refused") // Kubernetes keeps a snapshot as long as a claim waits to be made from it
	s.removeSnapshot("raw")
}

// volumeParameter is the parameter that the refusal names.
const volumeParameter = "allowBlockAsFilesystem"

// leftThenRight writes a number to one volume, and then to the other: at any instant they are the same, or the first is
// one ahead.
const leftThenRight = "i=0; while true; do i=$((i+1)); echo $i > /left/file; sync /left/file; echo $i > /right/file; sync /right/file; done"

// groupSnapshot takes two volumes that a pod writes to at one instant, and restores both.
func groupSnapshot(s *space) {
	s.create(claims, claim("left", late, "64Mi", labelled("group", "both")))
	s.create(claims, claim("right", late, "64Mi", labelled("group", "both")))
	s.run(pod("main", mounts("left", "right"), runs(leftThenRight)))
	s.group("both")

	// Each member is a VolumeSnapshot.
	members := map[string]string{} // name of the snapshot by claim
	list, err := s.dynamic.Resource(snapshots.resource()).Namespace(s.name).List(s.ctx, listAll)
	ok(s, "list snapshots", err)
	for _, u := range list.Items {
		content, _, _ := unstructured.NestedString(u.Object, "status", "boundVolumeSnapshotContentName")
		members[s.claimOf(content)] = u.GetName()
	}
	for _, of := range []string{"left", "right"} {
		if members[of] == "" {
			s.Fatalf("the group has no snapshot of claim %q, but %v", of, members)
		}
		s.usable(snapshots, members[of])
		s.create(claims, claim("restored-"+of, late, "64Mi", from(snapshots, members[of])))
	}
	s.run(pod("restored", mounts("restored-left", "restored-right")))
	if ahead := s.must("restored", "expr $(cat /restored-left/file) - $(cat /restored-right/file) || true"); ahead != "0" && ahead != "1" {
		s.Fatalf("the first of two volumes is %q ahead of the second, so they are not of one instant", ahead)
	}
	s.remove(groupSnapshots, "both")
}

// group takes a snapshot of all claims that are labelled as its members.
func (s *space) group(name string) {
	s.Helper()
	s.askForGroup(name)
	s.usable(groupSnapshots, name)
}

func (s *space) askForGroup(name string) {
	s.Helper()
	s.create(groupSnapshots, &unstructured.Unstructured{Object: map[string]any{
		"kind": "VolumeGroupSnapshot", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"volumeGroupSnapshotClassName": groupClass,
			"source": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"group": name}}}},
	}})
}

// claimOf returns the claim of the volume that the content of a snapshot is of.
func (s *space) claimOf(content string) string {
	s.Helper()
	u, err := s.resource(contents).Get(s.ctx, content, getAny)
	ok(s, "get the content of a snapshot", err)
	handle, _, _ := unstructured.NestedString(u.Object, "spec", "source", "volumeHandle")
	if handle == "" { // the content of a member has the snapshot's handle as its source, and the volume's only in its status
		handle, _, _ = unstructured.NestedString(u.Object, "status", "volumeHandle")
	}
	pvs, err := s.kube.CoreV1().PersistentVolumes().List(s.ctx, listAll)
	ok(s, "list PersistentVolumes", err)
	var known []string
	for _, pv := range pvs.Items {
		if pv.Spec.CSI != nil && pv.Spec.CSI.VolumeHandle == handle && pv.Spec.ClaimRef != nil {
			return pv.Spec.ClaimRef.Name
		}
		if pv.Spec.CSI != nil {
			known = append(known, pv.Spec.CSI.VolumeHandle)
		}
	}
	s.Fatalf("no PersistentVolume has the handle %q of snapshot content %q, only: %s\n%v", handle, content, strings.Join(known, " "), u.Object)
	return ""
}

// groupOverNodes: there is no instant that two machines share, and loam says so.
func groupOverNodes(s *space) {
	all := s.nodes(s.T)
	for i, node := range all[:2] {
		name := fmt.Sprintf("on-%d", i)
		s.create(claims, claim(name, late, "64Mi", labelled("group", "apart")))
		s.run(pod(name, mounts(name), onNode(node)))
	}
	s.askForGroup("apart")
	until(s, groupSnapshots, "apart", "refused, with the reason", func(g *groupStatus) bool {
		return g.Status.Error != nil && strings.Contains(g.Status.Error.Message, "different nodes")
	})
	s.remove(groupSnapshots, "apart")
}

// groupStatus is as much of a VolumeGroupSnapshot as is asked for here.
type groupStatus struct {
	Status struct {
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
	} `json:"status"`
}
