package suite

import (
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// machines runs a verb of the script that the cluster was started with.
func (s *space) machines(args ...string) string {
	s.Helper()
	out, err := command(s.ctx, setting(s.T, "LOAM_TEST_CLUSTER"), args...)
	ok(s, "cluster "+strings.Join(args, " "), err)
	return out
}

// nodePodRestarts kills loam on a node under a pod that writes, in the roughest way, then lets Kubernetes replace its
// pod. The pod that writes sees nothing of it, and what is asked for meanwhile is done afterwards.
func nodePodRestarts(s *space) {
	p := s.writer("writer")
	node := p.Spec.NodeName
	before := s.nodePod(node)
	s.machines("on", node, "sh", "-c", "kill -KILL $(pgrep -f '^[^ ]*loam node')")
	s.writesOn("writer")
	s.eventually("loam to be started again", func() error {
		now := s.nodePod(node)
		if now.Status.ContainerStatuses[0].RestartCount <= before.Status.ContainerStatuses[0].RestartCount {
			return fmt.Errorf("it was not yet")
		}
		return nil
	})
	s.loamReady()
	s.deleteInSystem(before.Name)
	// While loam is away a claim waits, and a pod goes.
	s.create(claims, claim("meanwhile", late, "64Mi"))
	s.create(pods, pod("meanwhile", mounts("meanwhile"), onNode(node)))
	s.writesOn("writer")
	s.loamReady()
	s.running("meanwhile")
	if after := s.nodePod(node); after.UID == before.UID {
		s.Fatal("the pod of loam was not replaced")
	}
	s.wholeAfter("writer")
}

func (s *space) deleteInSystem(pod string, options ...int64) {
	s.Helper()
	var o metav1.DeleteOptions
	if len(options) > 0 {
		o.GracePeriodSeconds = &options[0]
	}
	ok(s, "delete pod "+pod, s.kube.CoreV1().Pods(system).Delete(s.ctx, pod, o))
}

// controllerDiesInTheMiddle kills the replica that creates volumes while 50 are asked for. Each claim gets one
// volume, and there are no more volumes than claims.
func controllerDiesInTheMiddle(s *space) {
	const count = 50
	before := s.countVolumes()
	some := make(chan struct{})
	go s.closeAfter(count/5, some)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() { s.create(claims, claim(fmt.Sprintf("c-%02d", i), immediate, "16Mi")) })
	}
	select {
	case <-some:
	case <-time.After(patience):
		s.Fatalf("no %d claims were bound after %v", count/5, patience)
	}
	leader := s.leader()
	s.Logf("killing %q", leader)
	s.deleteInSystem(leader, 0)
	open := s.unbound()
	s.Logf("%d claims were not bound when it was killed", open)
	if open == 0 {
		s.Error("all claims were bound when it was killed, so this shows nothing")
	}
	all.Wait()
	handles := map[string]string{}
	for i := range count {
		name := fmt.Sprintf("c-%02d", i)
		pv := s.bound(name)
		if other := handles[pv.Spec.CSI.VolumeHandle]; other != "" {
			s.Fatalf("claims %q and %q have the same volume %q", other, name, pv.Spec.CSI.VolumeHandle)
		}
		handles[pv.Spec.CSI.VolumeHandle] = name
	}
	if is := s.countVolumes(); is != before+count {
		s.Fatalf("there are %d volumes for %d claims", is-before, count)
	}
	s.loamReady()
	s.remove(namespaces, s.name)
	s.volumesGone()
	if is := s.countVolumes(); is != before {
		s.Fatalf("%d volumes outlived their claims", is-before)
	}
}

// unbound returns how many claims of the test are not bound.
func (s *space) unbound() (n int) {
	s.Helper()
	list, err := s.kube.CoreV1().PersistentVolumeClaims(s.name).List(s.ctx, listAll)
	ok(s, "list claims", err)
	for _, c := range list.Items {
		if c.Status.Phase != v1.ClaimBound {
			n++
		}
	}
	return n
}

// closeAfter closes a channel when so many claims of the test are bound.
func (s *space) closeAfter(count int, some chan struct{}) {
	w, err := s.kube.CoreV1().PersistentVolumeClaims(s.name).Watch(s.ctx, listAll)
	if err != nil {
		return
	}
	defer w.Stop()
	bound := map[string]bool{}
	for e := range w.ResultChan() {
		c, is := e.Object.(*v1.PersistentVolumeClaim)
		if e.Type == watch.Error || !is {
			return
		}
		if c.Status.Phase == v1.ClaimBound {
			bound[c.Name] = true
		}
		if len(bound) == count {
			close(some)
			return
		}
	}
}

// leader returns the controller's pod whose provisioner leads.
func (s *space) leader() string {
	s.Helper()
	list, err := s.kube.CoordinationV1().Leases(system).List(s.ctx, listAll)
	ok(s, "list leases", err)
	var names []string
	for _, l := range list.Items {
		names = append(names, l.Name)
		if l.Name == strings.ReplaceAll(driver, ".", "-") && l.Spec.HolderIdentity != nil {
			return *l.Spec.HolderIdentity
		}
	}
	s.Fatalf("the provisioner has no lease: there are %q", names)
	return ""
}

// countVolumes returns how many volumes there are on all nodes.
func (s *space) countVolumes() int {
	s.Helper()
	n := 0
	for _, node := range s.nodes(s.T) {
		n += strings.Count(s.volumesOn(node), node+"/")
	}
	return n
}

// kubeletRestarts kills a kubelet under a pod that writes, and starts it again: loam registers anew.
func kubeletRestarts(s *space) {
	p := s.writer("writer")
	node := p.Spec.NodeName
	s.machines("kubelet", node, "kill")
	s.create(claims, claim("meanwhile", late, "64Mi"))
	s.create(pods, pod("meanwhile", mounts("meanwhile"), onNode(node)))
	s.machines("kubelet", node, "start")
	s.running("meanwhile")
	s.writes("meanwhile", "/meanwhile/file", "works")
	s.wholeAfter("writer")
}

// upgradeDisturbsNobody rolls both workloads of loam out anew while pods write on both nodes.
func upgradeDisturbsNobody(s *space) {
	all := s.nodes(s.T)
	before := map[string]string{}
	for i, node := range all {
		s.writer(fmt.Sprintf("writer-%d", i), onNode(node))
		before[node] = string(s.nodePod(node).UID)
	}
	// The annotation makes other pods of both.
	s.install("--set-string", "controller.podAnnotations.loam-test=upgraded,node.podAnnotations.loam-test=upgraded")
	s.create(claims, claim("meanwhile", immediate, "64Mi"))
	s.loamReady()
	for i, node := range all {
		if before[node] == string(s.nodePod(node).UID) {
			s.Errorf("loam on %q was not replaced", node)
		}
		s.writesOn(fmt.Sprintf("writer-%d", i))
	}
	s.bound("meanwhile")
	for i := range all {
		s.wholeAfter(fmt.Sprintf("writer-%d", i))
	}
	s.install()
	s.loamReady()
}
