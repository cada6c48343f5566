package suite

import (
	"fmt"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deadPoolStopsNoOther takes one pool of a node away while loam runs there, and again while it starts. The claims of the other
// pools go on, the pod of loam stays up and ready, what is in the pool waits and says so, and it goes on when the pool is back.
func deadPoolStopsNoOther(s *space) {
	all := s.nodes(s.T)
	lost, class := all[1], s.name+"-far"
	s.install("--set-json", farPools)
	defer func() {
		s.delete(classes, class)
		for _, node := range all {
			s.machines("on", node, "sh", "-c", "rm -rf /var/lib/loam/far /var/lib/loam/far.away /var/lib/loam/.known/far")
		}
		s.install()
		s.loamReady()
		s.connected(all...)
	}()
	s.loamReady()
	wait := storagev1.VolumeBindingWaitForFirstConsumer
	s.create(classes, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}, Provisioner: driver, Parameters: map[string]string{"pool": "far"}, VolumeBindingMode: &wait})
	s.create(claims, claim("kept", class, "64Mi"))
	s.run(pod("kept", mounts("kept"), onNode(lost)))
	s.writes("kept", "/kept/file", "kept")
	s.remove(pods, "kept")
	before := s.nodePod(lost)

	s.machines("on", lost, "mv", "/var/lib/loam/far", "/var/lib/loam/far.away")
	s.othersGoOn(lost, "running")
	s.create(pods, pod("waits", mounts("kept"), onNode(lost)))
	s.event("waits", `pool "far"`)
	if now := s.nodePod(lost); now.UID != before.UID || now.Status.ContainerStatuses[0].RestartCount != before.Status.ContainerStatuses[0].RestartCount || !isReady(&now) {
		s.Errorf("the pod of loam did not stay up and ready: %+v", now.Status)
	}
	s.deleteInSystem(before.Name)
	s.loamReady()
	s.othersGoOn(lost, "started")
	if says := s.farOn(lost); !strings.Contains(says, `pool "far"`) {
		s.Errorf("loam pools does not name the pool:\n%s", says)
	}

	s.machines("on", lost, "mv", "/var/lib/loam/far.away", "/var/lib/loam/far")
	s.running("waits")
	s.reads("waits", "/kept/file", "kept")
	s.remove(pods, "waits")
	s.remove(claims, "kept")
	s.volumesGone()
}

// othersGoOn makes a claim in the default pool on a node, and uses it.
func (s *space) othersGoOn(node, name string) {
	s.Helper()
	s.create(claims, claim(name, late, "64Mi"))
	s.run(pod(name, mounts(name), onNode(node)))
	s.writes(name, "/"+name+"/file", name)
	s.remove(pods, name)
	s.remove(claims, name)
}

// farOn returns what `loam pools` says on a node, and what is wrong.
func (s *space) farOn(node string) string {
	s.Helper()
	out, err := s.exec(s.ctx, system, s.nodePod(node).Name, "loam", "pools", "--config", configFile)
	return fmt.Sprint(out, err)
}

// farIsOpen waits until the pool is open on a node.
func (s *space) farIsOpen(node string) {
	s.Helper()
	s.eventually("the pool to be open on "+node, func() error {
		_, err := s.exec(s.ctx, system, s.nodePod(node).Name, "loam", "pools", "--config", configFile)
		return err
	})
}
