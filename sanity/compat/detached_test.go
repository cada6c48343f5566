package compat_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/compat"
)

// detached opens a pool of which nothing is attached, and does with what is in it all that can be done.
func (o *opened) detached() {
	o.open()
	o.listed()
	o.again()
	for _, v := range o.Volumes {
		o.use(v)
	}
	for i, s := range o.allSnapshots() {
		source := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.Row.Handle()}}}
		o.copyOf(fmt.Sprintf("restored-%d", i), source, s.Row, s.Content)
	}
	for _, v := range o.Volumes {
		if !strings.HasSuffix(v.Row.Handle(), "/restored") && !strings.HasSuffix(v.Row.Handle(), "/block") {
			continue
		}
		source := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: v.Row.Handle()}}}
		o.copyOf("cloned", source, v.Row, o.now(v))
	}
	o.blockAsFileSystem()
	for _, v := range o.Inline {
		o.inline(v, o.path(v.Row.Handle()))
	}
	o.grow()
	o.stopAndStart()
	o.removeAll()
	o.empty()
	o.ok("stop", o.driver.Stop())
}

func (o *opened) access(v compat.Volume) *csi.VolumeCapability {
	request := &csi.CreateVolumeRequest{}
	o.ok("read a request", compat.Decode(v.Request, request))
	return request.GetVolumeCapabilities()[0]
}

// addition is the file that use adds to a volume.
const addition = "added by a later release"

// now is what is in a volume after use.
func (o *opened) now(v compat.Volume) compat.Content {
	if v.Content.Device != "" {
		return v.Content
	}
	files := map[string]string{}
	for name, sum := range v.Content.Files {
		files[name] = sum
	}
	files[addition] = sumOf(addition, 3000)
	return compat.Content{Files: files}
}

func sumOf(name string, size int) string {
	sum := sha256.Sum256(compat.Text(name, size))
	return hex.EncodeToString(sum[:])
}

// use publishes a volume, finds in it what was there, and writes to it. One that is fresh, or whose mkfs was
// cut off, gets its file system.
func (o *opened) use(v compat.Volume) {
	o.Helper()
	id, access := v.Row.Handle(), o.access(v)
	at := o.publish(id, access)
	switch {
	case access.GetBlock() != nil && v.Row.Mark() == "fresh":
		zeros := sha256.Sum256(make([]byte, int(v.Row["sizeBytes"].(float64))))
		o.holds(id, at, compat.Content{Device: hex.EncodeToString(zeros[:])})
	default:
		o.holds(id, at, v.Content)
	}
	if v.Shrunk {
		var f unix.Statfs_t
		o.ok("statfs", unix.Statfs(at, &f))
		if has := float64(f.Blocks) * float64(f.Bsize); has != v.Row["sizeBytes"] {
			o.Errorf("%s: its file system has %.0f bytes; want %v", id, has, v.Row["sizeBytes"])
		}
	}
	if access.GetMount() != nil {
		o.ok("write to "+id, compat.WriteFile(at, addition, 3000))
		o.unpublish(id)
		at = o.publish(id, access)
		o.holds(id+", used again", at, o.now(v))
	}
	o.unpublish(id)
}

// copyOf makes a volume of a source, and compares what is in it.
func (o *opened) copyOf(name string, source *csi.VolumeContentSource, of compat.Row, content compat.Content) {
	o.Helper()
	fsType, _ := of["fsType"].(string)
	access := compat.Access(fsType)
	answer, err := o.driver.Controller.CreateVolume(o.Context(), &csi.CreateVolumeRequest{
		Name: name, VolumeContentSource: source, VolumeCapabilities: []*csi.VolumeCapability{access}})
	o.ok("a copy of "+of.Handle(), err)
	id := answer.GetVolume().GetVolumeId()
	if float64(answer.GetVolume().GetCapacityBytes()) != of["sizeBytes"] {
		o.Errorf("a copy of %s is %v", of.Handle(), answer.GetVolume())
	}
	o.holds("a copy of "+of.Handle(), o.publish(id, access), content)
	o.unpublish(id)
	o.delete(id)
}

// blockAsFileSystem makes copies of a block volume that are to be mounted: of a snapshot from before as ever, and of the volume, which was
// used by this release, not without a word.
func (o *opened) blockAsFileSystem() {
	o.Helper()
	copyFor := func(source *csi.VolumeContentSource, parameters map[string]string) (string, error) {
		answer, err := o.driver.Controller.CreateVolume(o.Context(), &csi.CreateVolumeRequest{
			Name: "mounted", VolumeContentSource: source, Parameters: parameters, VolumeCapabilities: []*csi.VolumeCapability{compat.Access("ext4")}})
		return answer.GetVolume().GetVolumeId(), err
	}
	old := 0
	for _, s := range o.allSnapshots() {
		if s.Content.Device == "" {
			continue
		}
		id, err := copyFor(&csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: s.Row.Handle()}}}, nil)
		o.ok("a copy, to be mounted, of a snapshot from before", err)
		o.delete(id)
		old++
	}
	source := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: o.named("block")}}}
	id, err := copyFor(source, nil)
	if old == 0 || err == nil || !strings.Contains(err.Error(), volume.KeyAllowBlock) {
		o.Errorf("there were %d snapshots of block volumes, and a copy of one that is used now is %q, %v", old, id, err)
	}
	at := o.path("refused")
	if err := o.driver.Publish(o.Context(), o.named("block"), compat.Access("ext4"), at); err == nil || !strings.Contains(err.Error(), volume.KeyAllowBlock) {
		o.Errorf("mounted, the volume is: %v", err)
	}
	// Where it is allowed, it is looked at; that there is no file system in it is another matter.
	id, err = copyFor(source, map[string]string{volume.KeyAllowBlock: "true"})
	o.ok("a copy, to be mounted, with a word", err)
	if err := o.driver.Publish(o.Context(), id, compat.Access("ext4"), at); err == nil || !strings.Contains(err.Error(), "no file system") {
		o.Errorf("mounted, the copy is: %v", err)
	}
	o.delete(id)
}

func (o *opened) delete(id string) {
	o.Helper()
	_, err := o.driver.Controller.DeleteVolume(o.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
	o.ok("delete "+id, err)
}

// inline publishes an ephemeral volume for its pod again, as a kubelet does after a reboot, and ends the pod.
func (o *opened) inline(v compat.Inline, at string) {
	o.Helper()
	request := &csi.NodePublishVolumeRequest{}
	o.ok("read a request", compat.Decode(v.Request, request))
	request.TargetPath = at
	_, err := o.driver.Node.NodePublishVolume(o.Context(), request)
	o.ok("publish "+request.GetVolumeId(), err)
	o.holds(v.Row.Handle(), at, v.Content)
	_, err = o.driver.Node.NodeUnpublishVolume(o.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: request.GetVolumeId(), TargetPath: at})
	o.ok("unpublish "+request.GetVolumeId(), err)
	rows, err := o.driver.Rows("volumes")
	o.ok("loam volumes", err)
	for _, row := range rows {
		if row.Handle() == v.Row.Handle() {
			o.Errorf("%s is there although its pod has ended", v.Row.Handle())
		}
	}
}

// grow expands the xfs, which has no snapshot where one would keep it from that, while it is mounted: an ext4 takes a
// capability that root may lack.
func (o *opened) grow() {
	o.Helper()
	for _, v := range o.Volumes {
		if v.Row["fsType"] != "xfs" {
			continue
		}
		id := v.Row.Handle()
		_, used := o.used[id]
		at := o.publish(id, o.access(v))
		o.expand(id, at, int64(v.Row["sizeBytes"].(float64))+16<<20)
		if !used {
			o.holds(id+", expanded", at, o.now(v))
			o.unpublish(id)
		}
		return
	}
	o.Error("there is no xfs")
}

func (o *opened) expand(id, at string, size int64) {
	o.Helper()
	var before, after unix.Statfs_t
	o.ok("statfs", unix.Statfs(at, &before))
	asked := &csi.CapacityRange{RequiredBytes: size}
	answer, err := o.driver.Controller.ControllerExpandVolume(o.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: asked})
	o.ok("expand "+id, err)
	_, err = o.driver.Node.NodeExpandVolume(o.Context(), &csi.NodeExpandVolumeRequest{VolumeId: id, VolumePath: at, StagingTargetPath: at + "-staging", CapacityRange: asked})
	o.ok("expand the file system of "+id, err)
	o.ok("statfs", unix.Statfs(at, &after))
	if answer.GetCapacityBytes() != size || after.Blocks <= before.Blocks {
		o.Errorf("expanded to %d, %s has %d bytes, and its file system %d blocks for %d", size, id, answer.GetCapacityBytes(), after.Blocks, before.Blocks)
	}
}

// stopAndStart opens the pool a second time, which is now one of this release.
func (o *opened) stopAndStart() {
	o.Helper()
	before, err := o.driver.Rows("volumes")
	o.ok("loam volumes", err)
	o.ok("stop", o.driver.Stop())
	o.open()
	o.compare("volumes", before)
}

// removeAll deletes everything.
func (o *opened) removeAll() {
	o.Helper()
	for _, g := range o.Groups {
		request := &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: g.Handle}
		for _, s := range g.Members {
			request.SnapshotIds = append(request.SnapshotIds, s.Row.Handle())
		}
		got, err := o.driver.Group.GetVolumeGroupSnapshot(o.Context(), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: g.Handle, SnapshotIds: request.GetSnapshotIds()})
		o.ok("get "+g.Handle, err)
		if len(got.GetGroupSnapshot().GetSnapshots()) != len(g.Members) {
			o.Errorf("group %s is %v", g.Handle, got)
		}
		_, err = o.driver.Group.DeleteVolumeGroupSnapshot(o.Context(), request)
		o.ok("delete "+g.Handle, err)
	}
	for _, s := range o.Snapshots {
		_, err := o.driver.Controller.DeleteSnapshot(o.Context(), &csi.DeleteSnapshotRequest{SnapshotId: s.Row.Handle()})
		o.ok("delete "+s.Row.Handle(), err)
	}
	for _, v := range o.Volumes {
		o.delete(v.Row.Handle())
	}
}
