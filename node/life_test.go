package node_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// seen returns the lines about mounts of the state.
func (m *machine) seen() []string {
	m.Helper()
	var lines []string
	for line := range strings.Lines(m.state()) {
		if strings.HasPrefix(line, "mount ") {
			lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, "mount ")))
		}
	}
	return lines
}

func (m *machine) sees(want ...string) {
	m.Helper()
	if got := m.seen(); !slices.Equal(got, want) {
		m.Errorf("mounted:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLifeOfAMountedVolume(t *testing.T) {
	for _, fsType := range volume.FSTypes() {
		t.Run(string(fsType), func(t *testing.T) {
			m := newMachine(t)
			m.create("v", func(s *volume.Spec) { s.Size.RequiredBytes, s.FSType = fsType.Least(), fsType })
			before := m.state()
			for range 2 {
				m.ok("stage", m.stage("v", mount(string(fsType))))
			}
			m.sees("staging/v of v " + string(fsType) + " read-only=false")
			if v := m.get("v"); v.Mark != volume.Used || m.found("v").Type != string(fsType) {
				t.Errorf("marked %s, holds %+v", v.Mark, m.found("v"))
			}
			for range 2 {
				m.ok("publish", m.publish("v", "a", mount(string(fsType))))
				m.ok("publish to a second pod", m.publish("v", "b", mount("")))
				m.ok("publish to a third pod, read-only", m.publishReadOnly("v", "c", mount("")))
			}
			m.sees("pods/a/v of v "+string(fsType)+" read-only=false", "pods/b/v of v "+string(fsType)+" read-only=false",
				"pods/c/v of v "+string(fsType)+" read-only=true", "staging/v of v "+string(fsType)+" read-only=false")
			m.is("unstage a published volume", m.unstage("v"), volume.InUse, "pods/")
			for range 2 {
				for _, pod := range []string{"a", "b", "c"} {
					m.ok("unpublish", m.unpublish("v", pod))
				}
			}
			m.sees("staging/v of v " + string(fsType) + " read-only=false")
			for range 2 {
				m.ok("unstage", m.unstage("v"))
			}
			m.ok("what the kubelet does", os.Remove(m.path("staging", "v")))
			m.ok("clean up", os.RemoveAll(m.path("pods")))
			m.ok("clean up", os.Mkdir(m.path("pods"), 0o750))
			m.same("in the end", m.state(), before)
		})
	}
}

func TestLifeOfABlockVolume(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.ok("stage", m.stage("v", block()))
	if v := m.get("v"); v.Mark != volume.Block || !v.Attached() || v.ReadOnly {
		t.Errorf("after stage: %+v", v)
	}
	m.sees()
	for range 2 {
		m.ok("stage", m.stage("v", block()))
		m.ok("publish", m.publish("v", "a", block()))
		m.ok("publish to a second pod", m.publish("v", "b", block()))
	}
	m.sees("pods/a/v of v devtmpfs read-only=false", "pods/b/v of v devtmpfs read-only=false")
	m.is("unstage a published volume", m.unstage("v"), volume.InUse, "pods/")
	m.is("mount what is published as a block device", m.stage("v", mount("")), volume.InUse, "block device")
	for range 2 {
		m.ok("unpublish", m.unpublish("v", "a"))
		m.ok("unpublish", m.unpublish("v", "b"))
	}
	for range 2 {
		m.ok("unstage", m.unstage("v"))
	}
	m.sees()
	if m.get("v").Attached() {
		t.Error("the device is still there")
	}
}

// The file that a block volume was on may be left, where NodeUnpublishVolume was killed.
func TestABlockVolumeThatIsNotStagedIsNotPublishedOverWhatIsLeft(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.ok("stage", m.stage("v", block()))
	m.ok("unstage", m.unstage("v"))
	m.ok("what the kubelet does", os.Remove(m.path("staging", "v")))
	m.publishRequest("v", "a", nil)
	m.ok("make a file", os.WriteFile(m.target("v", "a"), nil, 0o640))
	before := m.state()
	m.is("publish", m.publish("v", "a", block()), volume.InUse, "not staged")
	m.same("after the failure", m.state(), before)
}

func TestABlockVolumeIsReadOnlyOnItsDevice(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.ok("stage", m.stage("v", block()))
	m.ok("publish read-only", m.publishReadOnly("v", "a", block()))
	if !m.get("v").ReadOnly {
		t.Error("the device can be written")
	}
	m.ok("again", m.publishReadOnly("v", "a", block()))
	m.is("for writing at the same path", m.publish("v", "a", block()), volume.Exists, "read-only")
	m.is("for writing at another path", m.publish("v", "b", block()), volume.InUse, "pods/a/v")
	m.ok("stage again meanwhile", m.stage("v", block()))
	m.ok("unpublish", m.unpublish("v", "a"))
	m.ok("publish for writing", m.publish("v", "b", block()))
	if m.get("v").ReadOnly {
		t.Error("the device cannot be written")
	}
	m.sees("pods/b/v of v devtmpfs read-only=false")
}

func TestStagedReadOnly(t *testing.T) {
	noReplay := map[volume.FSType]string{volume.Ext4: "noload", volume.XFS: "norecovery", volume.Btrfs: "rescue=nologreplay"}
	own := map[volume.FSType][]string{volume.XFS: {"nouuid"}} // what is added to each mount
	for _, fsType := range volume.FSTypes() {
		t.Run(string(fsType), func(t *testing.T) {
			m := newMachine(t)
			m.create("v", func(s *volume.Spec) { s.Size.RequiredBytes = fsType.Least() })
			uuid := m.format("v", fsType)
			m.ok("stage for reading", m.stage("v", withMode(mount("", "noatime"), reader)))
			if options := m.m.Options(m.path("staging", "v")); !slices.Equal(options, slices.Concat([]string{"noatime"}, own[fsType], []string{"ro"})) {
				t.Errorf("mounted with %v", options)
			}
			m.is("publish for writing", m.publish("v", "a", mount("")), volume.InUse, "read-only")
			m.ok("publish", m.publish("v", "a", withMode(mount(""), reader)))
			m.sees("pods/a/v of v "+string(fsType)+" read-only=true", "staging/v of v "+string(fsType)+" read-only=true")
			m.ok("unpublish", m.unpublish("v", "a"))
			m.ok("unstage", m.unstage("v"))

			req := m.stageRequest("v", mount("", "rw", "noatime"))
			req.PublishContext = readOnlyContext
			_, err := m.NodeStageVolume(m.Context(), req)
			m.ok("stage what is attached read-only", err)
			if options := m.m.Options(m.path("staging", "v")); !slices.Equal(options, slices.Concat([]string{"noatime"}, own[fsType], []string{noReplay[fsType], "ro"})) {
				t.Errorf("mounted with %v", options)
			}
			if v := m.get("v"); !v.ReadOnly {
				t.Errorf("attached as %+v", v)
			}
			if m.found("v").UUID != uuid {
				t.Error("it is another file system")
			}
		})
	}
}

func TestACopyOfAnXFSIsMountedBesideItsSource(t *testing.T) {
	m := newMachine(t)
	xfs := func(s *volume.Spec) { s.Size.RequiredBytes = volume.XFS.Least() }
	m.create("v", xfs)
	m.ok("stage", m.stage("v", mount("xfs")))
	m.create("copy", xfs, func(s *volume.Spec) { s.Source = &volume.Source{Kind: volume.FromVolume, ID: m.id("v")} })
	m.ok("stage the copy", m.stage("copy", mount("")))
	m.ok("unstage the source", m.unstage("v"))
	m.ok("stage the source", m.stage("v", mount("")))
}

// Two that are no copies of each other, as far as loam knows: made with one UUID, or with dd.
func TestTwoXFSOfOneUUIDAreMountedAtOnce(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"a", "b", "c"} {
		m.create(name, func(s *volume.Spec) {
			s.Size.RequiredBytes = volume.XFS.Least()
			s.Parameters.MkfsOptions = "-m uuid=9a4f6c3e-0b1d-4c55-9f0a-5d2b8f7f1e11"
		})
	}
	m.ok("stage", m.stage("a", mount("xfs")))
	m.ok("stage the second one", m.stage("b", mount("xfs")))
	m.write("c", 0, m.read("a", 0, int(volume.XFS.Least())))
	m.mark("c", volume.Used)
	m.ok("stage a copy made by hand", m.stage("c", mount("")))
	m.ok("unstage", m.unstage("a"))
	m.ok("stage again", m.stage("a", mount("", "nouuid", "noatime")))
}

func TestARestoredVolumeFillsItsLargerSize(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	uuid := m.format("v", volume.Ext4)
	m.create("copy", func(s *volume.Spec) {
		s.Size.RequiredBytes, s.Source = 4*size, &volume.Source{Kind: volume.FromVolume, ID: m.id("v")}
	})
	m.ok("stage", m.stage("copy", mount("")))
	usage, err := m.m.Usage(m.path("staging", "copy"))
	if err != nil || usage.TotalBytes != int64(4*size) {
		t.Errorf("the file system has %+v, %v", usage, err)
	}
	if m.found("copy").UUID != uuid {
		t.Error("it is another file system")
	}
}

func TestStageAfterTheOrchestratorAttached(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	_, err := m.fast.Attach(t.Context(), m.id("v"), false)
	m.ok("Attach", err)
	req := m.stageRequest("v", mount(""))
	req.PublishContext = map[string]string{volume.ContextReadOnly: "false"}
	for range 2 { // the second time, nobody attaches it but NodeStageVolume
		_, err = m.NodeStageVolume(t.Context(), req)
		m.ok("stage", err)
		m.ok("publish", m.publish("v", "a", mount("")))
		m.ok("unpublish", m.unpublish("v", "a"))
		m.ok("unstage", m.unstage("v"))
	}
	m.ok("what ControllerUnpublishVolume does", m.fast.Detach(t.Context(), m.id("v")))
	m.ok("what DeleteVolume does", m.fast.Delete(t.Context(), m.id("v")))
}

func TestWhatTheOrchestratorAttachedStaysAfterAFailedStage(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	_, err := m.fast.Attach(t.Context(), m.id("v"), false)
	m.ok("Attach", err)
	req := m.stageRequest("v", mount(""))
	req.PublishContext = map[string]string{volume.ContextReadOnly: "false"}
	before := m.state()
	m.m.Fail("Mount", os.ErrPermission)
	_, err = m.NodeStageVolume(t.Context(), req)
	m.is("stage", err, volume.Internal, os.ErrPermission.Error())
	m.same("after the failure", m.state(), before)
}

// Pods that share a volume come and go at the same time.
func TestTenPodsComeAndGoAtOnce(t *testing.T) {
	m := newMachine(t)
	m.create("v")
	m.ok("stage", m.stage("v", mount("")))
	together := func(what string, call func(pod string) error) {
		var all sync.WaitGroup
		errs := make([]error, 10)
		for i := range errs {
			all.Go(func() { errs[i] = call(fmt.Sprintf("pod-%d", i)) })
		}
		all.Wait()
		m.ok(what, errors.Join(errs...))
	}
	together("publish", func(pod string) error { return m.publish("v", pod, mount("")) })
	if seen := m.seen(); len(seen) != 11 {
		t.Errorf("mounted: %q", seen)
	}
	together("unpublish", func(pod string) error { return m.unpublish("v", pod) })
	m.sees("staging/v of v ext4 read-only=false")
	m.ok("unstage", m.unstage("v"))
}
