package crash_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// block is the form of a volume that is used as a block device. The other forms are file systems.
const block = "block"

// model is what must exist.
type model struct {
	dir       string
	where     place
	disk      bool            // a loop pool has a disk of its own
	volumes   map[string]vol  // by handle
	snapshots map[string]snap // by handle
}

// vol is a volume.
type vol struct {
	handle, pool, name string
	form               string
	size               volume.Size
	source             *csi.VolumeContentSource
	data               data

	attached       bool
	deviceReadOnly bool
	context        map[string]string // of ControllerPublishVolume; nil where that was not called
	staging        string            // empty while it is not staged
	stagedReadOnly bool
	targets        map[string]bool // paths where it is published, and whether read-only
	inline         string          // the handle of an inline ephemeral volume that the kubelet has
}

// data is what must be on a device.
type data struct {
	written  uint64      // which content was written last; 0: none
	torn     uint64      // which content was being written when the power went: all of it may be there, or not
	used     bool        // it has a file system, or was handed out as a block device
	block    bool        // it was handed out as one that can be written
	uuid     string      // of the file system
	measured volume.Size // size of the volume when its file system last filled it
	capacity int64       // bytes that the file system had then
}

// snap is a snapshot.
type snap struct {
	handle, pool, form string
	volume, group      string // handles; group is empty for one taken alone
	size               volume.Size
	data               data
}

func handleOf(pool, name string) string {
	return volume.ID{Node: nodeName, Pool: pool, Name: volume.NameFor(name)}.String()
}

func nameOf(handle string) string { return handle[strings.LastIndex(handle, "/")+1:] }

func (m *model) clone() *model {
	c := &model{dir: m.dir, where: m.where, disk: m.disk, volumes: maps.Clone(m.volumes), snapshots: maps.Clone(m.snapshots)}
	for handle, v := range c.volumes {
		v.targets = maps.Clone(v.targets)
		c.volumes[handle] = v
	}
	return c
}

// change changes one volume.
func (m *model) change(handle string, how func(*vol)) {
	v := m.volumes[handle]
	how(&v)
	m.volumes[handle] = v
}

// those returns the volumes that are so, in the order of their handles.
func (m *model) those(are func(vol) bool) []vol {
	var found []vol
	for _, handle := range slices.Sorted(maps.Keys(m.volumes)) {
		if v := m.volumes[handle]; are(v) {
			found = append(found, v)
		}
	}
	return found
}

// taken returns the snapshots that are so, in the order of their handles.
func (m *model) taken(are func(snap) bool) []snap {
	var found []snap
	for _, handle := range slices.Sorted(maps.Keys(m.snapshots)) {
		if s := m.snapshots[handle]; are(s) {
			found = append(found, s)
		}
	}
	return found
}

// groups returns the handles of the snapshots of each group.
func (m *model) groups() map[string][]string {
	groups := map[string][]string{}
	for _, s := range m.taken(func(s snap) bool { return s.group != "" }) {
		groups[s.group] = append(groups[s.group], s.handle)
	}
	return groups
}

func (v vol) isBlock() bool { return v.form == block }

// copies reports whether a copy of the volume has something that can be used.
func (v vol) copies() bool { return v.isBlock() || v.data.used }

// at returns a path through which the volume's bytes can be read, and whether they can be written
// there; false where there is none.
func (v vol) at() (path string, writable, ok bool) {
	if v.staging != "" && !v.isBlock() {
		return v.staging, !v.stagedReadOnly, true
	}
	for _, target := range slices.Sorted(maps.Keys(v.targets)) {
		return target, !v.targets[target], true
	}
	return "", false, false
}

// state is what is seen of a machine, each thing by a key that begins with what it is.
type state map[string]string

// state returns what must be seen.
func (m *model) state() state {
	s := m.where.base(m.dir, m.disk)
	for handle, v := range m.volumes {
		s["volume "+handle] = describeVolume(int64(v.size), v.source)
		s["on disk "+m.where.volumeOnDisk(m.dir, v)] = "there"
		if v.data.block {
			s["mark "+handle] = block
		}
		if v.attached {
			s["published "+handle] = nodeName
			s["device "+m.where.device(m.dir, v)] = describeDevice(v.size, v.deviceReadOnly)
		}
		if v.staging != "" && !v.isBlock() {
			s["mount "+v.staging] = mode(v.stagedReadOnly)
		}
		for target, readOnly := range v.targets {
			s["target "+target] = "there"
			s["mount "+target] = mode(readOnly && !v.isBlock()) // of a block volume the device is read-only
		}
	}
	for handle, one := range m.snapshots {
		s["snapshot "+handle] = describeSnapshot(int64(one.size), one.volume, one.group)
		s["on disk "+m.where.snapshotOnDisk(m.dir, one)] = "there"
	}
	for group, members := range m.groups() {
		s["group "+group] = fmt.Sprint(members)
	}
	return s
}

func mode(readOnly bool) string {
	if readOnly {
		return "read-only"
	}
	return "writable"
}

func describeDevice(size volume.Size, readOnly bool) string {
	return fmt.Sprintf("%d bytes, %s", size, mode(readOnly))
}

func describeVolume(size int64, source *csi.VolumeContentSource) string {
	switch {
	case source.GetSnapshot() != nil:
		return fmt.Sprintf("%d bytes from snapshot %s", size, source.GetSnapshot().GetSnapshotId())
	case source.GetVolume() != nil:
		return fmt.Sprintf("%d bytes from volume %s", size, source.GetVolume().GetVolumeId())
	}
	return fmt.Sprintf("%d bytes", size)
}

func describeSnapshot(size int64, of, group string) string {
	if group == "" {
		return fmt.Sprintf("%d bytes of %s", size, of)
	}
	return fmt.Sprintf("%d bytes of %s in group %s", size, of, group)
}
