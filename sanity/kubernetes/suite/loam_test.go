package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The workloads of loam.
const (
	nodeWorkload       = "loam-node"
	controllerWorkload = "loam-controller"
	configFile         = "/etc/loam/config.yaml"
)

// loamPods returns the pods of a workload of loam, by name.
func (c *cluster) loamPods(ctx context.Context, workload string) ([]v1.Pod, error) {
	list, err := c.kube.CoreV1().Pods(system).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p v1.Pod) bool {
		return !slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Name == workload })
	}), nil
}

// nodePod returns the pod of loam on a node.
func (s *space) nodePod(node string) v1.Pod {
	s.Helper()
	found, err := s.loamPods(s.ctx, nodeWorkload)
	ok(s, "list pods of loam", err)
	i := slices.IndexFunc(found, func(p v1.Pod) bool { return p.Spec.NodeName == node && p.DeletionTimestamp == nil })
	if i < 0 {
		s.Fatalf("loam has no pod on node %q", node)
	}
	return found[i]
}

// loamOn runs loam in its pod on a node and returns what it prints.
func (s *space) loamOn(node string, args ...string) string {
	s.Helper()
	out, err := s.exec(s.ctx, system, s.nodePod(node).Name, append([]string{"loam"}, args...)...)
	ok(s, "loam on "+node, err)
	return out
}

// volumesOn returns what `loam volumes` prints on a node: a line for each volume, which begins with its handle.
func (s *space) volumesOn(node string) string {
	s.Helper()
	return s.loamOn(node, "volumes", "--config", configFile)
}

// orphans returns what `loam orphans` prints on the controller.
func (s *space) orphans() string {
	s.Helper()
	found, err := s.loamPods(s.ctx, controllerWorkload)
	ok(s, "list pods of loam", err)
	out, err := s.exec(s.ctx, system, found[0].Name, "loam", "orphans")
	ok(s, "loam orphans", err)
	return out
}

// loamReady waits until all pods of loam that there are to be are ready, and none is on its way out.
func (s *space) loamReady() {
	s.Helper()
	for _, workload := range []string{controllerWorkload, nodeWorkload} {
		s.eventually("the pods of "+workload+" to be ready", func() error {
			found, err := s.loamPods(s.ctx, workload)
			if err != nil {
				return err
			}
			want, err := s.wanted(workload)
			if err != nil {
				return err
			}
			if len(found) != want {
				return fmt.Errorf("there are %d, want %d", len(found), want)
			}
			for _, p := range found {
				if !isReady(&p) {
					return fmt.Errorf("%q is %s and not ready", p.Name, p.Status.Phase)
				}
			}
			return nil
		})
	}
}

// wanted returns how many pods a workload of loam is to have, or an error while it has not been rolled out.
func (s *space) wanted(workload string) (int, error) {
	if workload == controllerWorkload {
		set, err := s.kube.AppsV1().StatefulSets(system).Get(s.ctx, workload, metav1.GetOptions{})
		if err == nil && (set.Status.ObservedGeneration < set.Generation || set.Status.UpdatedReplicas != *set.Spec.Replicas || set.Status.CurrentRevision != set.Status.UpdateRevision) {
			err = fmt.Errorf("it is being rolled out: %d of %d", set.Status.UpdatedReplicas, *set.Spec.Replicas)
		}
		if err != nil {
			return 0, err
		}
		return int(*set.Spec.Replicas), nil
	}
	set, err := s.kube.AppsV1().DaemonSets(system).Get(s.ctx, workload, metav1.GetOptions{})
	if err == nil && (set.Status.ObservedGeneration < set.Generation || set.Status.UpdatedNumberScheduled != set.Status.DesiredNumberScheduled) {
		err = fmt.Errorf("it is being rolled out: %d of %d", set.Status.UpdatedNumberScheduled, set.Status.DesiredNumberScheduled)
	}
	if err != nil {
		return 0, err
	}
	return int(set.Status.DesiredNumberScheduled), nil
}

// connected waits until the controller creates and deletes volumes on all given nodes.
func (s *space) connected(nodes ...string) {
	s.Helper()
	for i, node := range nodes {
		name := fmt.Sprintf("connected-%d", i)
		s.create(claims, claim(name, late, "64Mi", func(c *v1.PersistentVolumeClaim) {
			c.Annotations = map[string]string{"volume.kubernetes.io/selected-node": node} // as the scheduler would
		}))
		s.bound(name)
		s.remove(claims, name)
	}
}

// eventually waits until is has no error.
func (s *space) eventually(what string, is func() error) {
	s.Helper()
	s.within(patience, what, is)
}

func (s *space) within(limit time.Duration, what string, is func() error) {
	s.Helper()
	for end := time.Now().Add(limit); ; {
		err := is()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("waited %v for %s: %v", limit, what, err)
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("waiting for %s: %v", what, s.ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// explain prints what the cluster and loam know of the namespace of a failed test.
func (s *space) explain() {
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"describe", "pods,persistentvolumeclaims", "--namespace", s.name},
		{"get", "persistentvolumes,volumeattachments,nodes,csistoragecapacities,volumesnapshots,volumesnapshotcontents", "--all-namespaces", "--output", "wide"},
		{"get", "pods", "--namespace", system, "--output", "wide"},
	} {
		out, err := command(ctx, "kubectl", args...)
		s.Logf("kubectl %s:\n%s", strings.Join(args, " "), out)
		if err != nil {
			s.Log(err)
		}
	}
	for _, workload := range []string{controllerWorkload, nodeWorkload} {
		found, err := s.loamPods(ctx, workload)
		if err != nil {
			s.Log(err)
		}
		for _, p := range found {
			for _, c := range p.Spec.Containers {
				text, err := s.kube.CoreV1().Pods(system).GetLogs(p.Name, &v1.PodLogOptions{
					Container: c.Name, SinceTime: new(metav1.NewTime(s.began)), TailLines: new(int64(60))}).DoRaw(ctx)
				if err == nil && len(text) > 0 {
					s.Logf("log of %s/%s:\n%s", p.Name, c.Name, text)
				}
			}
		}
	}
}
