package node_test

import (
	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// scenario is one call in one situation.
type scenario struct {
	name    string
	prepare func(m *machine)
	call    func(m *machine) error
	back    bool // a failed call leaves everything as it was
	leaves  bool // what the pool does not do is done without it
}

func staged(c *csi.VolumeCapability) func(m *machine) {
	return func(m *machine) {
		m.create("v")
		m.ok("stage", m.stage("v", c))
		m.publishRequest("v", "a", c)
	}
}

func published(c *csi.VolumeCapability) func(m *machine) {
	return func(m *machine) {
		staged(c)(m)
		m.ok("publish", m.publish("v", "a", c))
	}
}

// used is a volume with a file system of an earlier life, on twice the space that it fills.
func used(m *machine) {
	m.create("origin")
	m.format("origin", volume.Ext4)
	m.create("v", func(s *volume.Spec) {
		s.Size.RequiredBytes, s.Source = 2*size, &volume.Source{Kind: volume.FromVolume, ID: m.id("origin")}
	})
}

func scenarios() []scenario {
	stage := func(c *csi.VolumeCapability) func(m *machine) error {
		return func(m *machine) error { return m.stage("v", c) }
	}
	fresh := func(m *machine) { m.create("v"); m.stageRequest("v", nil) }
	older := func(m *machine) { used(m); m.stageRequest("v", nil) }
	return []scenario{
		{"stage a fresh volume", fresh, stage(mount("ext4")), true, false},
		{"stage a volume that has been used and is larger now", older, stage(mount("")), true, false},
		{"stage for reading", older, stage(withMode(mount(""), reader)), true, false},
		{"stage what is to be attached read-only", older, func(m *machine) error {
			req := m.stageRequest("v", mount(""))
			req.PublishContext = readOnlyContext
			_, err := m.NodeStageVolume(m.Context(), req)
			return err
		}, true, false},
		{"stage a block volume", fresh, stage(block()), true, false},
		{"stage a block volume that is attached otherwise", func(m *machine) {
			fresh(m)
			_, err := m.fast.Attach(m.Context(), m.id("v"), false)
			m.ok("Attach", err)
		}, func(m *machine) error {
			req := m.stageRequest("v", withMode(block(), reader))
			req.PublishContext = map[string]string{volume.ContextReadOnly: "false"}
			_, err := m.NodeStageVolume(m.Context(), req)
			return err
		}, true, false},
		{"unstage", staged(mount("")), func(m *machine) error { return m.unstage("v") }, false, true},
		{"unstage a block volume", staged(block()), func(m *machine) error { return m.unstage("v") }, false, true},
		{"publish", staged(mount("")), func(m *machine) error { return m.publish("v", "a", mount("")) }, true, false},
		{"publish read-only", staged(mount("")), func(m *machine) error { return m.publishReadOnly("v", "a", mount("")) }, true, false},
		{"publish a block volume", staged(block()), func(m *machine) error { return m.publish("v", "a", block()) }, true, false},
		{"publish a block volume read-only", staged(block()), func(m *machine) error { return m.publishReadOnly("v", "a", block()) }, true, false},
		{"publish a block volume after a call that was cut off", func(m *machine) {
			staged(block())(m)
			m.watch = func(s step) error {
				if s.Method == "pool.Detach" && s.After {
					panic(killed)
				}
				return nil
			}
			_ = ending(func() error { return m.publishReadOnly("v", "a", block()) })
			m.watch = func(step) error { return nil }
			m.restart()
		}, func(m *machine) error { return m.publishReadOnly("v", "a", block()) }, true, false},
		{"unpublish", published(mount("")), func(m *machine) error { return m.unpublish("v", "a") }, false, true},
		{"unpublish a block volume", published(block()), func(m *machine) error { return m.unpublish("v", "a") }, false, true},
		{"expand", func(m *machine) { published(mount(""))(m); m.larger("v") }, func(m *machine) error { return m.expand("v", m.target("v", "a")) }, false, false},
		{"publish an inline volume", func(m *machine) { m.inlineRequest("a", nil) }, func(m *machine) error { return m.publishInline("a", nil) }, true, false},
		{"unpublish an inline volume", func(m *machine) { m.ok("publish", m.publishInline("a", nil)) }, func(m *machine) error { return m.unpublishInline("a") }, false, false},
	}
}
