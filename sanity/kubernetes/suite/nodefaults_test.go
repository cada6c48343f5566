package suite

import (
	"errors"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodeIsCutOff takes a node off the network under a pod that writes. What concerns the node waits and says so, new
// volumes go elsewhere, and what waited is done when the node is back.
func nodeIsCutOff(s *space) {
	all := s.nodes(s.T)
	lost, other := all[1], all[0]
	s.writer("writer", onNode(lost))
	s.create(claims, claim("doomed", late, "64Mi"))
	s.run(pod("doomed", mounts("doomed"), onNode(lost)))
	doomed := s.bound("doomed")
	s.remove(pods, "doomed")

	began := time.Now()
	s.machines("cut", lost)
	healed := false
	defer func() {
		if !healed {
			s.machines("heal", lost)
		}
	}()
	s.remove(claims, "doomed")
	s.eventIn("default", doomed.Name, lost+`" is not connected`)
	s.Logf("the controller knew %v after the node was cut off", time.Since(began).Round(time.Millisecond))
	s.create(claims, claim("elsewhere", immediate, "64Mi"))
	if node := s.nodeOf(s.bound("elsewhere")); node != other {
		s.Fatalf("a new volume is on %q, which is cut off", node)
	}

	began = time.Now()
	s.machines("heal", lost)
	healed = true
	s.gone(volumes, doomed.Name)
	s.Logf("what had waited was done %v after the node was back", time.Since(began).Round(time.Millisecond))
	until(s, nodes, lost, "ready", nodeReady)
	s.loamReady()
	s.connected(lost)
	s.wholeAfter("writer")
}

func nodeReady(n *v1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// nodeLosesPower kills everything on a node that a pod writes on, and starts it again: the pod comes back, and what
// it had synced is there.
func nodeLosesPower(s *space) {
	all := s.nodes(s.T)
	lost := all[1]
	s.create(claims, claim("data", late, "64Mi"))
	s.run(pod("main", mounts("data"), onNode(lost)))
	s.writes("main", "/data/file", "kept")
	s.machines("power-off", lost)
	s.machines("power-on", lost)
	s.eventually("the pod to be started again", func() error {
		_, err := s.sh(s.ctx, s.name, "main", "cat /data/file")
		return err
	})
	s.reads("main", "/data/file", "kept")
	s.writes("main", "/data/file", "goes-on")
	s.loamReady()
	s.connected(lost)
}

// nodeIsDeleted takes a node away for good: its volumes can be deleted, with an event that says what became of them.
// When it comes back after all, what is on it is shown as an orphan, and an administrator can adopt and remove it.
func nodeIsDeleted(s *space) {
	all := s.nodes(s.T)
	lost := all[1]
	s.create(claims, claim("data", late, "64Mi"))
	s.run(pod("main", mounts("data"), onNode(lost)))
	s.writes("main", "/data/file", "orphaned")
	pv := s.bound("data")
	handle := pv.Spec.CSI.VolumeHandle

	s.machines("power-off", lost)
	back := false
	defer func() {
		if !back {
			s.machines("power-on", lost)
		}
	}()
	s.delete(nodes, lost)
	ok(s, "force the pod away", s.kube.CoreV1().Pods(s.name).Delete(s.ctx, "main", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	s.gone(pods, "main")
	s.remove(claims, "data")
	s.gone(volumes, pv.Name)
	s.saidInSystem(handle)

	s.machines("power-on", lost)
	back = true
	s.loamReady()
	s.eventually("the orphan to be shown", func() error {
		if list := s.orphans(); !strings.Contains(list, handle) {
			return &failure{[]string{"loam orphans"}, list, errNotShown}
		}
		return nil
	})
	s.connected(lost)
	s.adopt(pv, "orphan")
	s.create(claims, claim("data", "orphan", "64Mi"))
	s.run(pod("main", mounts("data")))
	s.reads("main", "/data/file", "orphaned")
	if list := s.orphans(); strings.Contains(list, handle) {
		s.Fatalf("what has a PersistentVolume is still shown as an orphan:\n%s", list)
	}
	s.remove(pods, "main")
	s.remove(claims, "data")
	s.gone(volumes, s.name+"-adopted")
	if list := s.volumesOn(lost); strings.Contains(list, handle) {
		s.Fatalf("volume %q is still on its node:\n%s", handle, list)
	}
}

// saidInSystem waits for an event of loam that names the given text.
func (s *space) saidInSystem(text string) {
	s.Helper()
	s.eventually("an event that names "+text, func() error {
		list, err := s.kube.CoreV1().Events(v1.NamespaceAll).List(s.ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if strings.Contains(e.Message, text) && e.InvolvedObject.Kind != "PersistentVolume" {
				s.Logf("event %s: %s", e.Reason, e.Message)
				return nil
			}
		}
		return errNotShown
	})
}

var errNotShown = errors.New("it does not")
