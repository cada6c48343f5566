package suite

import (
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func podComesBackToItsData(s *space) {
	s.create(claims, claim("data", late, "64Mi"))
	before := s.run(pod("main", mounts("data")))
	s.writes("main", "/data/file", "kept")
	s.remove(pods, "main")
	after := s.run(pod("main", mounts("data")))
	if after.Spec.NodeName != before.Spec.NodeName {
		s.Fatalf("the pod came back on %q, its volume is on %q", after.Spec.NodeName, before.Spec.NodeName)
	}
	s.reads("main", "/data/file", "kept")
}

// twoPodsShare: ReadWriteOnce is one node, and not one pod.
func twoPodsShare(s *space) {
	s.create(claims, claim("data", late, "64Mi"))
	s.run(pod("first", mounts("data")))
	s.writes("first", "/data/file", "shared")
	s.run(pod("second", mounts("data")))
	s.reads("second", "/data/file", "shared")
	s.remove(pods, "first")
	s.reads("second", "/data/file", "shared")
}

// tenPodsLeaveAtOnce: the kubelet takes a volume away from all its pods at the same time, and tries what was refused again
// only after a while that doubles.
func tenPodsLeaveAtOnce(s *space) {
	const count = 10
	s.create(claims, claim("data", late, "64Mi"))
	node := s.run(pod("pod-0", mounts("data"))).Spec.NodeName
	for i := 1; i < count; i++ {
		s.create(pods, pod(fmt.Sprintf("pod-%d", i), mounts("data")))
	}
	for i := range count {
		s.running(fmt.Sprintf("pod-%d", i))
	}
	handle := s.bound("data").Spec.CSI.VolumeHandle
	began := time.Now()
	for i := range count {
		s.delete(pods, fmt.Sprintf("pod-%d", i))
	}
	for i := range count {
		s.gone(pods, fmt.Sprintf("pod-%d", i))
	}
	s.Logf("count: %d pods of one volume were gone after %v", count, time.Since(began).Round(time.Millisecond))
	text, err := s.kube.CoreV1().Pods(system).GetLogs(s.nodePod(node).Name, &v1.PodLogOptions{Container: "loam"}).DoRaw(s.ctx)
	ok(s, "read the log of loam", err)
	taken := 0
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "NodeUnpublishVolume") || !strings.Contains(line, handle) {
			continue
		}
		taken++
		if !strings.Contains(line, `code="OK"`) {
			s.Errorf("a pod had to wait: %s", strings.TrimSpace(line))
		}
	}
	if taken < count {
		s.Errorf("the log shows that the volume was taken away %d times, of %d:\n%s", taken, count, text)
	}
}

func statefulSetUsesBothNodes(s *space) {
	template := pod("", mounts("data"))
	template.Spec.Volumes = nil // of the claim template
	metav1.SetMetaDataLabel(&template.ObjectMeta, "app", "db")
	template.Spec.Affinity = &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{{
			Weight: 100, PodAffinityTerm: v1.PodAffinityTerm{
				TopologyKey: v1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: template.Labels}}}}}}
	s.create(statefulSets, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(3)), ServiceName: "db", Selector: &metav1.LabelSelector{MatchLabels: template.Labels},
			PodManagementPolicy:                  appsv1.ParallelPodManagement,
			Template:                             v1.PodTemplateSpec{ObjectMeta: template.ObjectMeta, Spec: template.Spec},
			VolumeClaimTemplates:                 []v1.PersistentVolumeClaim{*claim("data", late, "64Mi")},
			PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: appsv1.DeletePersistentVolumeClaimRetentionPolicyType},
		},
	})
	on := map[string]string{}
	used := map[string]int{}
	for i := range 3 {
		name := fmt.Sprintf("db-%d", i)
		on[name] = s.running(name).Spec.NodeName
		used[on[name]]++
		s.writes(name, "/data/file", name)
	}
	if len(used) < 2 {
		s.Fatalf("all three are on one node: %v", on)
	}
	for name := range on {
		s.replace(name)
		if node := s.running(name).Spec.NodeName; node != on[name] {
			s.Fatalf("pod %q came back on %q, its volume is on %q", name, node, on[name])
		}
		s.reads(name, "/data/file", name)
	}
}

// replace deletes a pod that comes back under its name, and waits until it is another.
func (s *space) replace(name string) {
	s.Helper()
	p, err := s.kube.CoreV1().Pods(s.name).Get(s.ctx, name, metav1.GetOptions{})
	ok(s, "get pod "+name, err)
	s.delete(pods, name)
	until(s, pods, name, "another", func(q *v1.Pod) bool { return q.UID != p.UID })
}

func rawBlock(s *space) {
	s.create(claims, claim("disk", late, "64Mi", blockMode))
	s.run(pod("main", devices("disk")))
	s.must("main", "[ -b /dev/disk ] && printf written | dd of=/dev/disk bs=4096 seek=1000 conv=fsync,notrunc")
	s.remove(pods, "main")
	s.run(pod("main", devices("disk")))
	if got := s.must("main", "dd if=/dev/disk bs=4096 skip=1000 count=1 2>/dev/null | head -c 7"); got != "written" {
		s.Fatalf("the device has %q where %q was written", got, "written")
	}
	if left := s.must("main", "dd if=/dev/disk bs=4096 count=1000 2>/dev/null | tr -d '\\0' | wc -c"); left != "0" {
		s.Fatalf("the device does not read as zeros where nothing was written: %s bytes", left)
	}
}

func genericEphemeral(s *space) {
	p := s.run(pod("main", with("scratch", v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{
		VolumeClaimTemplate: &v1.PersistentVolumeClaimTemplate{Spec: claim("", late, "64Mi").Spec}}})))
	s.writes("main", "/scratch/file", "scratch")
	pv := s.bound("main-scratch")
	if s.nodeOf(pv) != p.Spec.NodeName {
		s.Fatalf("the pod is on %q and its volume on %q", p.Spec.NodeName, s.nodeOf(pv))
	}
	s.remove(pods, "main")
	s.gone(claims, "main-scratch")
	s.gone(volumes, pv.Name)
}

func inlineEphemeral(s *space) {
	p := s.run(pod("main", with("scratch", v1.VolumeSource{CSI: &v1.CSIVolumeSource{
		Driver: driver, FSType: new("xfs"), VolumeAttributes: map[string]string{"size": "320Mi"}}})))
	s.writes("main", "/scratch/file", "scratch")
	if got := s.must("main", "grep ' /scratch ' /proc/mounts"); !strings.Contains(got, " xfs rw") {
		s.Fatalf("the volume is mounted as %q", got)
	}
	list := s.volumesOn(p.Spec.NodeName)
	handle := ""
	for line := range strings.Lines(list) {
		if strings.Contains(line, s.name) {
			handle, _, _ = strings.Cut(line, " ")
		}
	}
	if handle == "" {
		s.Fatalf("no volume of namespace %q is on its node:\n%s", s.name, list)
	}
	s.remove(pods, "main")
	if list := s.volumesOn(p.Spec.NodeName); strings.Contains(list, handle) {
		s.Fatalf("volume %q outlived its pod:\n%s", handle, list)
	}
}

func fsGroup(s *space) {
	s.create(claims, claim("data", late, "64Mi"))
	s.run(pod("main", mounts("data"), func(p *v1.Pod) {
		p.Spec.SecurityContext = &v1.PodSecurityContext{RunAsUser: new(int64(1000)), RunAsGroup: new(int64(1000)), FSGroup: new(int64(2000))}
	}))
	s.writes("main", "/data/file", "mine")
	if got := s.must("main", "stat -c %u:%g /data/file; stat -c %g /data"); got != "1000:2000\n2000" {
		s.Fatalf("the file and its directory are of %q", got)
	}
}

func mountOptions(s *space) {
	s.create(claims, claim("data", options, "64Mi"))
	s.run(pod("main", mounts("data")))
	got := strings.Fields(s.must("main", "grep ' /data ' /proc/mounts"))
	for _, want := range []string{"nodiratime", "nosuid"} {
		if !strings.Contains(","+got[3]+",", ","+want+",") {
			s.Errorf("the volume is mounted with %q, its class says %q", got[3], want)
		}
	}
	s.create(claims, claim("never", refused, "64Mi"))
	s.create(pods, pod("never", mounts("never")))
	s.event("never", "mount option")
}
