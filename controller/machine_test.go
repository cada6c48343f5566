package controller_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

const (
	node = "n1"
	mib  = int64(volume.MiB)
	gib  = int64(volume.GiB)
)

// machine is the services over three pools of memory: "slow", which is the first one, "fast", and
// "bare", which takes no snapshots.
type machine struct {
	*testing.T
	*controller.Server
	pools []pool.Pool
}

// bare hides what the memory pool can do beyond a Pool.
type bare struct{ pool.Pool }

func newMachine(t *testing.T) *machine {
	t.Helper()
	return machineWith(t, controller.Config{},
		memory.New("slow", node, 4*volume.GiB), memory.New("fast", node, 2*volume.GiB), bare{memory.New("bare", node, volume.GiB)})
}

func machineWith(t *testing.T, c controller.Config, pools ...pool.Pool) *machine {
	t.Helper()
	set, err := pool.NewSet(node, pools...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range pools {
			_ = p.Close()
		}
	})
	c.Pools = set
	return &machine{T: t, Server: controller.New(c), pools: pools}
}

func (m *machine) ok(what string, err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%s: %v", what, err)
	}
}

// state is everything that the pools hold.
func (m *machine) state() string {
	m.Helper()
	var b strings.Builder
	for _, p := range m.pools {
		volumes, err := p.List(m.Context(), "", 0)
		m.ok("List", err)
		for _, v := range volumes {
			fmt.Fprintf(&b, "%+v from %v\n", v, v.Source)
		}
		if s, ok := p.(pool.Snapshotter); ok {
			snapshots, err := s.ListSnapshots(m.Context(), "", 0)
			m.ok("ListSnapshots", err)
			fmt.Fprintf(&b, "%+v\n", snapshots)
		}
	}
	return b.String()
}

// refused fails the test unless the call answered nothing but an error of that kind, whose text is
// fit to be read and says what it should.
func (m *machine) refused(kind volume.Kind, says string, answer any, err error) {
	m.Helper()
	if err == nil {
		m.Errorf("answered %v, want %s", answer, kind)
		return
	}
	if !reflect.ValueOf(answer).IsNil() {
		m.Errorf("an answer beside the error: %v", answer)
	}
	if volume.KindOf(err) != kind {
		m.Errorf("kind %s, want %s: %v", volume.KindOf(err), kind, err)
	}
	if !strings.Contains(err.Error(), says) {
		m.Errorf("%q does not say %q", err, says)
	}
	checkText(m, err)
}

// maxText is more than any message needs and less than what a caller could make of one that repeats
// what it sent.
const maxText = 2048

func checkText(t testing.TB, err error) {
	t.Helper()
	text := err.Error()
	if text == "" || len(text) > maxText || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("an error of %d bytes: %.300q", len(text), text)
	}
}

// refusal is a request that is refused and changes nothing.
type refusal struct {
	name string
	kind volume.Kind
	says string // what the message names
	do   func(m *machine) (any, error)
}

func (m *machine) refuse(cases []refusal) {
	m.Helper()
	for _, c := range cases {
		m.Run(c.name, func(t *testing.T) {
			run := &machine{T: t, Server: m.Server, pools: m.pools}
			before := run.state()
			answer, err := c.do(run)
			run.refused(c.kind, c.says, answer, err)
			if after := run.state(); after != before {
				t.Errorf("a call that was refused changed something: before\n%safter\n%s", before, after)
			}
		})
	}
}

func handle(pool, name string) string {
	return volume.ID{Node: node, Pool: pool, Name: name}.String()
}

func mount(fsType string, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType, MountFlags: flags}},
	}
}

func block() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
	}
}

func withMode(c *csi.VolumeCapability, mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	c.AccessMode = &csi.VolumeCapability_AccessMode{Mode: mode}
	return c
}

func caps(c ...*csi.VolumeCapability) []*csi.VolumeCapability { return c }

func exactly(bytes int64) *csi.CapacityRange {
	return &csi.CapacityRange{RequiredBytes: bytes, LimitBytes: bytes}
}

func inPool(name string) map[string]string { return map[string]string{volume.KeyPool: name} }

func ofSnapshot(handle string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle},
	}}
}

func ofVolume(handle string) *csi.VolumeContentSource {
	return &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
		Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: handle},
	}}
}

func at(key, value string) *csi.Topology {
	return &csi.Topology{Segments: map[string]string{key: value}}
}

func requisite(topologies ...*csi.Topology) *csi.TopologyRequirement {
	return &csi.TopologyRequirement{Requisite: topologies}
}

// newVolume is a request that succeeds; change makes it another one.
func newVolume(name string, change func(*csi.CreateVolumeRequest)) *csi.CreateVolumeRequest {
	req := &csi.CreateVolumeRequest{Name: name, VolumeCapabilities: caps(mount("")), CapacityRange: exactly(8 * mib)}
	if change != nil {
		change(req)
	}
	return req
}

func (m *machine) create(pool, name string) *csi.Volume {
	m.Helper()
	return m.make(newVolume(name, func(r *csi.CreateVolumeRequest) { r.Parameters = inPool(pool) }))
}

func (m *machine) make(req *csi.CreateVolumeRequest) *csi.Volume {
	m.Helper()
	answer, err := m.CreateVolume(m.Context(), req)
	m.ok("CreateVolume "+req.GetName(), err)
	return answer.GetVolume()
}

func (m *machine) snapshot(name, source string) *csi.Snapshot {
	m.Helper()
	answer, err := m.CreateSnapshot(m.Context(), &csi.CreateSnapshotRequest{Name: name, SourceVolumeId: source})
	m.ok("CreateSnapshot "+name, err)
	return answer.GetSnapshot()
}

func (m *machine) group(name string, sources ...string) *csi.VolumeGroupSnapshot {
	m.Helper()
	answer, err := m.CreateVolumeGroupSnapshot(m.Context(), &csi.CreateVolumeGroupSnapshotRequest{Name: name, SourceVolumeIds: sources})
	m.ok("CreateVolumeGroupSnapshot "+name, err)
	return answer.GetGroupSnapshot()
}

func (m *machine) publish(id string, readOnly bool) map[string]string {
	m.Helper()
	answer, err := m.ControllerPublishVolume(m.Context(), &csi.ControllerPublishVolumeRequest{
		VolumeId: id, NodeId: node, VolumeCapability: mount(""), Readonly: readOnly,
	})
	m.ok("ControllerPublishVolume "+id, err)
	return answer.GetPublishContext()
}
