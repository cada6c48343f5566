package suite

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// farPools is the configuration of the tests with one pool more, in a directory that stands for a disk.
const farPools = `config.pools=[{"name":"default","loop":{"directory":"/var/lib/loam/default","size":"5Gi","create":true}},` +
	`{"name":"small","loop":{"directory":"/var/lib/loam/small","size":"1Gi","create":true}},` +
	`{"name":"far","loop":{"directory":"/var/lib/loam/far","create":true}}]`

// missingPoolIsNotMadeAnew gives all nodes one configuration with create. A node that is new to the pool gets it. From one
// that has it, it is taken away: loam says so there and makes no other one, also when it is started again, until
// the pool is back, or an administrator has the node forget it.
func missingPoolIsNotMadeAnew(s *space) {
	all := s.nodes(s.T)
	lost, other := all[1], all[0]
	s.install("--set-json", farPools)
	defer func() {
		for _, node := range all {
			s.machines("on", node, "sh", "-c", "rm -rf /var/lib/loam/far /var/lib/loam/far.away /var/lib/loam/.known/far")
		}
		s.install()
		s.loamReady()
		s.connected(all...)
	}()
	s.loamReady()
	ids := map[string]string{}
	for _, node := range all {
		ids[node] = s.farPool(node)
	}
	if ids[lost] == ids[other] {
		s.Fatalf("the pools of both nodes have the id %s", ids[lost])
	}

	s.machines("on", lost, "mv", "/var/lib/loam/far", "/var/lib/loam/far.away")
	ok(s, "start loam again", s.kube.CoreV1().Pods(system).Delete(s.ctx, s.nodePod(lost).Name, metav1.DeleteOptions{}))
	s.eventually("loam to say that the pool is missing", func() error { return s.saysLast(lost, "loam pools --forget far") })
	if there := s.machines("on", lost, "sh", "-c", "ls -d /var/lib/loam/far 2>/dev/null || true"); strings.TrimSpace(there) != "" {
		s.Errorf("another pool was made: %s", there)
	}
	s.machines("on", lost, "mv", "/var/lib/loam/far.away", "/var/lib/loam/far")
	s.farIsOpen(lost)
	if id := s.farPool(lost); id != ids[lost] {
		s.Errorf("the pool that is back has the id %s, and had %s", id, ids[lost])
	}

	s.machines("on", lost, "mv", "/var/lib/loam/far", "/var/lib/loam/far.away")
	ok(s, "start loam again", s.kube.CoreV1().Pods(system).Delete(s.ctx, s.nodePod(lost).Name, metav1.DeleteOptions{}))
	s.eventually("loam to say that the pool is missing", func() error { return s.saysLast(lost, "loam pools --forget far") })
	image := s.nodePod(lost).Spec.Containers[0].Image
	said, err := command(s.ctx, "kubectl", "debug", "node/"+lost, "--namespace", s.name, "--attach", "--profile=sysadmin", "--image="+image, "--",
		"/usr/bin/loam", "pools", "--forget", "far", "--state-dir", "/host/var/lib/loam")
	ok(s, "have the node forget the pool", err)
	s.Logf("%s", said)
	s.farIsOpen(lost)
	if id := s.farPool(lost); id == ids[lost] {
		s.Errorf("the new pool has the id of the old one, %s", id)
	}
	if id := s.farPool(other); id != ids[other] {
		s.Errorf("the pool of the other node has the id %s, and had %s", id, ids[other])
	}
}

// farPool returns the id of the pool on a node, which the node has to remember.
func (s *space) farPool(node string) string {
	s.Helper()
	var pool struct{ ID, Node string }
	ok(s, "read the identity", json.Unmarshal([]byte(s.machines("on", node, "cat", "/var/lib/loam/far/pool.json")), &pool))
	if known := s.machines("on", node, "cat", "/var/lib/loam/.known/far"); pool.ID == "" || pool.Node != node || !strings.Contains(known, pool.ID) {
		s.Fatalf("on %s is the pool %+v, and it remembers %s", node, pool, known)
	}
	return pool.ID
}

// saysLast says whether loam on a node, as it runs or as it ended last, has logged some words.
func (s *space) saysLast(node, words string) error {
	found, err := s.loamPods(s.ctx, nodeWorkload)
	if err != nil {
		return err
	}
	for _, p := range found {
		for _, previous := range []bool{true, false} {
			text, err := s.kube.CoreV1().Pods(system).GetLogs(p.Name, &v1.PodLogOptions{Previous: previous}).DoRaw(s.ctx)
			if p.Spec.NodeName == node && p.DeletionTimestamp == nil && err == nil && strings.Contains(string(text), words) {
				return nil
			}
		}
	}
	return fmt.Errorf("%q is in no log of loam on %s", words, node)
}
