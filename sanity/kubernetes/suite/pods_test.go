package suite

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// run makes a pod and waits until it runs.
func (s *space) run(p *v1.Pod) *v1.Pod {
	s.Helper()
	s.create(pods, p)
	return s.running(p.Name)
}

// running waits until a pod runs and is ready.
func (s *space) running(name string) *v1.Pod {
	s.Helper()
	p := until(s, pods, name, "running", func(p *v1.Pod) bool { return isReady(p) || hasEnded(p) })
	if hasEnded(p) {
		s.Fatalf("pod %q ended as %s: %s", name, p.Status.Phase, s.logs(name))
	}
	return p
}

func hasEnded(p *v1.Pod) bool {
	return p.Status.Phase == v1.PodFailed || p.Status.Phase == v1.PodSucceeded
}

func isReady(p *v1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

func (s *space) logs(pod string) string {
	text, err := s.kube.CoreV1().Pods(s.name).GetLogs(pod, &v1.PodLogOptions{}).DoRaw(s.ctx)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// must runs a shell command in a pod of the test, and returns what it prints, without blanks at the ends.
func (s *space) must(pod, command string) string {
	s.Helper()
	out, err := s.sh(s.ctx, s.name, pod, command)
	ok(s, fmt.Sprintf("in pod %q", pod), err)
	return strings.TrimSpace(out)
}

// reads fails the test unless a file in a pod has the given content.
func (s *space) reads(pod, file, want string) {
	s.Helper()
	if got := s.must(pod, "cat "+file); got != want {
		s.Fatalf("%s in pod %q has %q, want %q", file, pod, got, want)
	}
}

// writes writes a file in a pod and syncs it.
func (s *space) writes(pod, file, content string) {
	s.Helper()
	s.must(pod, fmt.Sprintf("echo %s > %s && sync", content, file))
}

// bound waits until a claim is bound, and returns its PersistentVolume.
func (s *space) bound(name string) *v1.PersistentVolume {
	s.Helper()
	c := until(s, claims, name, "bound", func(c *v1.PersistentVolumeClaim) bool { return c.Status.Phase == v1.ClaimBound })
	pv, err := s.kube.CoreV1().PersistentVolumes().Get(s.ctx, c.Spec.VolumeName, metav1.GetOptions{})
	ok(s, "get the PersistentVolume of "+name, err)
	if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != driver {
		s.Fatalf("PersistentVolume %q is not of loam: %+v", pv.Name, pv.Spec.PersistentVolumeSource)
	}
	return pv
}

// nodeOf returns the node that a PersistentVolume is on, by its handle, and fails if its affinity is another.
func (s *space) nodeOf(pv *v1.PersistentVolume) string {
	s.Helper()
	node, _, _ := strings.Cut(pv.Spec.CSI.VolumeHandle, "/")
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil || len(pv.Spec.NodeAffinity.Required.NodeSelectorTerms) != 1 {
		s.Fatalf("PersistentVolume %q has the node affinity %+v", pv.Name, pv.Spec.NodeAffinity)
	}
	term := pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions
	if len(term) != 1 || term[0].Key != nodeLabel || len(term[0].Values) != 1 || term[0].Values[0] != node {
		s.Fatalf("PersistentVolume %q with the handle %q has the node affinity %+v", pv.Name, pv.Spec.CSI.VolumeHandle, term)
	}
	return node
}
