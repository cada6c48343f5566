package node_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// scenario is one call in one situation.
type scenario struct {
	name    string
	prepare func(m *machine)
	call    func(m *machine) error
	back    bool // a failed call leaves everything as it was
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
		{"stage a fresh volume", fresh, stage(mount("ext4")), true},
		{"stage a volume that has been used and is larger now", older, stage(mount("")), true},
		{"stage for reading", older, stage(withMode(mount(""), reader)), true},
		{"stage what is to be attached read-only", older, func(m *machine) error {
			req := m.stageRequest("v", mount(""))
			req.PublishContext = readOnlyContext
			_, err := m.NodeStageVolume(m.Context(), req)
			return err
		}, true},
		{"stage a block volume", fresh, stage(block()), true},
		{"stage a block volume that is attached otherwise", func(m *machine) {
			fresh(m)
			_, err := m.fast.Attach(m.Context(), m.id("v"), false)
			m.ok("Attach", err)
		}, func(m *machine) error {
			req := m.stageRequest("v", withMode(block(), reader))
			req.PublishContext = map[string]string{volume.ContextReadOnly: "false"}
			_, err := m.NodeStageVolume(m.Context(), req)
			return err
		}, true},
		{"unstage", staged(mount("")), func(m *machine) error { return m.unstage("v") }, false},
		{"unstage a block volume", staged(block()), func(m *machine) error { return m.unstage("v") }, false},
		{"publish", staged(mount("")), func(m *machine) error { return m.publish("v", "a", mount("")) }, true},
		{"publish read-only", staged(mount("")), func(m *machine) error { return m.publishReadOnly("v", "a", mount("")) }, true},
		{"publish a block volume", staged(block()), func(m *machine) error { return m.publish("v", "a", block()) }, true},
		{"publish a block volume read-only", staged(block()), func(m *machine) error { return m.publishReadOnly("v", "a", block()) }, true},
		{"unpublish", published(mount("")), func(m *machine) error { return m.unpublish("v", "a") }, false},
		{"unpublish a block volume", published(block()), func(m *machine) error { return m.unpublish("v", "a") }, false},
		{"expand", func(m *machine) { published(mount(""))(m); m.larger("v") }, func(m *machine) error { return m.expand("v", m.target("v", "a")) }, false},
		{"publish an inline volume", func(m *machine) { m.inlineRequest("a", nil) }, func(m *machine) error { return m.publishInline("a", nil) }, true},
		{"unpublish an inline volume", func(m *machine) { m.ok("publish", m.publishInline("a", nil)) }, func(m *machine) error { return m.unpublishInline("a") }, false},
	}
}

// ready returns a machine in the situation, and what must never change: the file system that is there.
func (s scenario) ready(t *testing.T) (m *machine, uuid string) {
	t.Helper()
	m = newMachine(t)
	s.prepare(m)
	return m, m.uuid()
}

// uuid returns that of the file system on "v", empty if there is no such volume or file system.
func (m *machine) uuid() string {
	if _, err := m.fast.Pool.Get(m.Context(), m.id("v")); err != nil {
		return ""
	}
	return m.found("v").UUID
}

// whole is the state and how full the file system is, which growing changes.
func (m *machine) whole() string {
	m.Helper()
	whole := m.state()
	if strings.Contains(whole, "mount staging/v") {
		whole += fmt.Sprintf("\nfile system of %d bytes", m.total("v"))
	}
	return whole + fmt.Sprintf("\n%d claimed", m.m.Claimed())
}

// killed is what a watcher panics with.
var killed = errors.New("killed")

// until calls the scenario on new machines, ended at its first step, its second one, and so on, until
// it comes to its end.
func (s scenario) until(t *testing.T, end func(step), check func(m *machine, at step, err error, uuid string)) {
	t.Helper()
	for n := 1; ; n++ {
		m, uuid := s.ready(t)
		count, at := 0, step{}
		m.watch = func(now step) error {
			if count++; count != n {
				return nil
			}
			at = now
			end(now)
			return errors.New("broken")
		}
		err := s.run(m)
		m.watch = func(step) error { return nil }
		if count < n {
			m.ok(s.name, err)
			if n < 5 {
				t.Errorf("only %d steps", n)
			}
			return
		}
		check(m, at, err, uuid)
		if t.Failed() {
			t.Fatalf("the above is of step %d, %+v", n, at)
		}
	}
}

// run calls the scenario, which may be killed.
func (s scenario) run(m *machine) error {
	defer func() {
		if r := recover(); r != nil && r != killed {
			panic(r)
		}
	}()
	return s.call(m)
}

// kill -9 at any instant, a new process, and the same call again: it ends as if nothing had happened.
func TestKilledAtAnyStep(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			m, _ := s.ready(t)
			m.ok(s.name, s.call(m))
			want := m.whole()
			s.until(t, func(step) { panic(killed) }, func(m *machine, at step, _ error, uuid string) {
				m.restart()
				m.ok("the same call again", s.call(m))
				m.same("after the same call again", m.whole(), want)
				if uuid != "" && m.uuid() != uuid {
					t.Errorf("the file system was %s and is %s", uuid, m.uuid())
				}
			})
		})
	}
}

// A step that fails, or fails after it was done, fails the call. What is to be taken back is taken
// back, and the same call again succeeds.
func TestFailedAtAnyStep(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			m, _ := s.ready(t)
			before := m.whole()
			m.ok(s.name, s.call(m))
			want := m.whole()
			s.until(t, func(step) {}, func(m *machine, at step, err error, uuid string) {
				if at == (step{Method: "pool.Create", After: true}) {
					return // a pool that fails has made nothing: that is its contract
				}
				if err == nil {
					t.Error("the call succeeded")
				} else if !strings.Contains(err.Error(), "broken") || strings.Contains(err.Error(), "taking back") {
					t.Errorf("the call failed with %v", err)
				}
				if s.back {
					m.same("after the failure", m.whole(), before)
				}
				m.ok("the same call again", s.call(m))
				m.same("after the same call again", m.whole(), want)
				if uuid != "" && m.uuid() != uuid {
					t.Errorf("the file system was %s and is %s", uuid, m.uuid())
				}
			})
		})
	}
}

// A call that fails takes back what it did, and may be killed at that as well.
func TestKilledWhileTakingBack(t *testing.T) {
	for _, s := range scenarios() {
		if !s.back {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			m, _ := s.ready(t)
			m.ok(s.name, s.call(m))
			want := m.whole()
			for n := 1; ; n++ {
				m, uuid := s.ready(t)
				since := -1
				m.watch = func(now step) error {
					switch last := now.Method == "Mount" || now.Method == "Bind" || (now.Method == "pool.Mark" && strings.Contains(s.name, "block")); {
					case since < 0 && last && now.After:
						since = 0
						return errors.New("broken")
					case since >= 0:
						if since++; since == n {
							panic(killed)
						}
					}
					return nil
				}
				ended := s.run(m)
				m.watch = func(step) error { return nil }
				if since < n {
					if n == 1 || ended == nil {
						t.Errorf("nothing was taken back: %v", ended)
					}
					return
				}
				m.restart()
				m.ok("the same call again", s.call(m))
				m.same("after the same call again", m.whole(), want)
				if uuid != "" && m.uuid() != uuid {
					t.Errorf("the file system was %s and is %s", uuid, m.uuid())
				}
				if t.Failed() {
					t.Fatalf("the above is of step %d of taking back", n)
				}
			}
		})
	}
}
