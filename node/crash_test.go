package node_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

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
	return ending(func() error { return s.call(m) })
}

// ending calls what may be killed.
func ending(call func() error) error {
	defer func() {
		if r := recover(); r != nil && r != killed {
			panic(r)
		}
	}()
	return call()
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
				if at.Method == "Dirty" {
					m.ok("what is only said in the log", err)
					return
				}
				if s.leaves && strings.HasPrefix(at.Method, "pool.") {
					m.ok("a pod goes without its pool", err)
				} else if err == nil {
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
