package suite

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func claimWaitsForItsPod(s *space) {
	s.create(claims, claim("data", late, "64Mi"))
	s.event("data", "WaitForFirstConsumer")
	c, err := s.kube.CoreV1().PersistentVolumeClaims(s.name).Get(s.ctx, "data", metav1.GetOptions{})
	ok(s, "get the claim", err)
	if c.Status.Phase != v1.ClaimPending || c.Spec.VolumeName != "" {
		s.Fatalf("the claim is %s with the volume %q before there is a pod", c.Status.Phase, c.Spec.VolumeName)
	}
	p := s.run(pod("main", mounts("data")))
	pv := s.bound("data")
	if node := s.nodeOf(pv); node != p.Spec.NodeName {
		s.Fatalf("the pod is on %q and its volume on %q", p.Spec.NodeName, node)
	}
	if size := pv.Spec.Capacity.Storage().Value(); size < 64<<20 {
		s.Fatalf("the volume has %d bytes, 64Mi were claimed", size)
	}
}

func claimBindsAtOnce(s *space) {
	s.create(claims, claim("data", immediate, "64Mi"))
	pv := s.bound("data")
	p := s.run(pod("main", mounts("data")))
	if node := s.nodeOf(pv); node != p.Spec.NodeName {
		s.Fatalf("the volume is on %q and its pod on %q", node, p.Spec.NodeName)
	}
}

// claimMatchesAnExistingVolume makes a PersistentVolume by hand of the handle of a volume that is there, as an
// administrator does, and claims it.
func claimMatchesAnExistingVolume(s *space) {
	old := retainedVolume(s, "kept")
	s.adopt(old, "by-hand")
	s.create(claims, claim("data", "", "64Mi", func(c *v1.PersistentVolumeClaim) {
		c.Spec.StorageClassName = new("by-hand")
	}))
	pv := s.bound("data")
	if pv.Spec.CSI.VolumeHandle != old.Spec.CSI.VolumeHandle {
		s.Fatalf("the claim got the volume %q, want %q", pv.Spec.CSI.VolumeHandle, old.Spec.CSI.VolumeHandle)
	}
	s.run(pod("main", mounts("data")))
	s.reads("main", "/data/file", "kept")
}

// retainedVolume makes a volume with a file that says the given word, deletes its claim and its PersistentVolume,
// and returns what that was. It fails if anything of that takes the volume away.
func retainedVolume(s *space, word string) *v1.PersistentVolume {
	s.create(claims, claim("old", retained, "64Mi"))
	s.run(pod("old", mounts("old")))
	s.writes("old", "/old/file", word)
	pv := s.bound("old")
	s.remove(pods, "old")
	s.remove(claims, "old")
	until(s, volumes, pv.Name, "released", func(pv *v1.PersistentVolume) bool { return pv.Status.Phase == v1.VolumeReleased })
	s.remove(volumes, pv.Name)
	if !strings.Contains(s.volumesOn(s.nodeOf(pv)), pv.Spec.CSI.VolumeHandle) {
		s.Fatalf("volume %q is gone with its PersistentVolume, whose reclaim policy is Retain", pv.Spec.CSI.VolumeHandle)
	}
	return pv
}

// adopt makes a PersistentVolume of an existing volume, for claims of a class that only this test has. It is removed,
// and the volume with it, when its claim is.
func (s *space) adopt(old *v1.PersistentVolume, class string) {
	s.create(volumes, &v1.PersistentVolume{
		// The annotation is the provisioner's own: without it, it would not delete what it has not made.
		ObjectMeta: metav1.ObjectMeta{Name: s.name + "-adopted", Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": driver}},
		Spec: v1.PersistentVolumeSpec{
			Capacity: old.Spec.Capacity, AccessModes: old.Spec.AccessModes, NodeAffinity: old.Spec.NodeAffinity,
			StorageClassName: class, PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			ClaimRef: &v1.ObjectReference{Namespace: s.name, Name: "data"},
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver: driver, VolumeHandle: old.Spec.CSI.VolumeHandle, FSType: old.Spec.CSI.FSType}},
		},
	})
}

func deletedVolumeIsGone(s *space) {
	s.create(claims, claim("data", immediate, "64Mi"))
	pv := s.bound("data")
	if !strings.Contains(s.volumesOn(s.nodeOf(pv)), pv.Spec.CSI.VolumeHandle) {
		s.Fatalf("volume %q is not on its node", pv.Spec.CSI.VolumeHandle)
	}
	s.remove(claims, "data")
	s.gone(volumes, pv.Name)
	if list := s.volumesOn(s.nodeOf(pv)); strings.Contains(list, pv.Spec.CSI.VolumeHandle) {
		s.Fatalf("volume %q outlived its PersistentVolume:\n%s", pv.Spec.CSI.VolumeHandle, list)
	}
}

func retainedVolumeStays(s *space) {
	old := retainedVolume(s, "still-here")
	// It is left for nobody: adopt it, and let it go with its claim.
	s.adopt(old, "by-hand")
	s.create(claims, claim("data", "by-hand", "64Mi"))
	s.bound("data")
}

// onePodOnly refuses a second pod twice: the scheduler does not place it, and where it does not ask the
// scheduler the kubelet does not start it.
func onePodOnly(s *space) {
	s.create(claims, claim("data", late, "64Mi", accessMode(v1.ReadWriteOncePod)))
	first := s.run(pod("first", mounts("data")))
	s.create(pods, pod("second", mounts("data")))
	s.event("second", "ReadWriteOncePod")
	s.create(pods, pod("third", mounts("data"), func(p *v1.Pod) { p.Spec.NodeName = first.Spec.NodeName }))
	s.event("third", "ReadWriteOncePod")
	for _, name := range []string{"second", "third"} {
		p, err := s.kube.CoreV1().Pods(s.name).Get(s.ctx, name, metav1.GetOptions{})
		ok(s, "get pod "+name, err)
		if p.Status.Phase != v1.PodPending {
			s.Fatalf("pod %q is %s beside the one pod that may have the volume", name, p.Status.Phase)
		}
	}
	s.delete(pods, "third")
	s.remove(pods, "first")
	s.running("second")
}

// grow asks for a larger volume.
func (s *space) grow(name, size string) {
	s.Helper()
	patch := `{"spec":{"resources":{"requests":{"storage":"` + size + `"}}}}`
	_, err := s.kube.CoreV1().PersistentVolumeClaims(s.name).Patch(s.ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	ok(s, "expand claim "+name, err)
}
