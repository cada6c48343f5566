package node_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// A volume whose record was lost while a pod uses it is given to no other, and its pod is watched and ends as before.
func TestADamagedVolumeIsGivenToNobodyElseAndItsPodEnds(t *testing.T) {
	for name, c := range map[string]*csi.VolumeCapability{"mounted": mount("ext4"), "block": block()} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.create("v")
			m.ok("stage", m.stage("v", c))
			m.ok("publish", m.publish("v", "a", c))
			m.fast.Damage(m.id("v"), "its record is lost")
			m.is("publish for another pod", m.publish("v", "b", c), volume.InUse, "its record is lost")
			before := m.state() // with the directory that the kubelet has made
			m.is("publish for another pod, again", m.publish("v", "b", c), volume.InUse, "its record is lost")
			m.is("stage again", m.stage("v", c), volume.InUse, "its record is lost")
			m.is("expand", m.expand("v", m.target("v", "a")), volume.InUse, "its record is lost")
			m.same("after refused calls", m.state(), before)
			if _, err := m.stats("v", m.target("v", "a")); err != nil {
				t.Errorf("stats: %v", err)
			}
			m.ok("unpublish", m.unpublish("v", "a"))
			m.ok("unstage", m.unstage("v"))
			if v := m.get("v"); v.Attached() {
				t.Errorf("it is %+v", v)
			}
			m.is("stage", m.stage("v", c), volume.InUse, "its record is lost")
			m.fast.Damage(m.id("v"), "")
			m.ok("stage", m.stage("v", c))
			m.ok("unstage", m.unstage("v"))
		})
	}
}

// A pool that cannot be read keeps no inline volume from the others.
func TestAnInlineVolumeNeedsOnlyItsOwnPool(t *testing.T) {
	m := newMachine(t)
	away := volume.Errorf(volume.Unavailable, `pool "slow" is not available`)
	for _, p := range m.pools.All() {
		if p.Name() == "slow" {
			p.(*watchedPool).fails = away
		}
	}
	m.ok("publish", m.publishInline("a", nil))
	m.ok("unpublish", m.unpublishInline("a"))
	if left := m.inlineVolumes(); len(left) > 0 {
		t.Errorf("left is %v", left)
	}
	if err := m.publishInline("b", map[string]string{volume.KeyPool: "slow"}); !errors.Is(err, away) || !strings.Contains(err.Error(), "slow") {
		t.Errorf("publish in the pool itself: %v", err)
	}
}
