package suite

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

var (
	listAll = metav1.ListOptions{}
	getAny  = metav1.GetOptions{}
)

// capacitySteersScheduler fills one node of two and claims what only the other has room for. The scheduler knows that
// from the CSIStorageCapacity objects, and places no pod on the full one.
func capacitySteersScheduler(s *space) {
	all := s.nodes(s.T)
	full, other := all[0], all[1]
	for _, node := range all {
		s.capacity(node, "at least 600Mi", func(free resource.Quantity) bool { return free.Cmp(resource.MustParse("600Mi")) >= 0 })
	}
	s.create(claims, claim("filler", small, "600Mi"))
	s.run(pod("filler", mounts("filler"), onNode(full)))
	s.capacity(full, "less than 600Mi", func(free resource.Quantity) bool { return free.Cmp(resource.MustParse("600Mi")) < 0 })

	s.create(claims, claim("data", small, "600Mi"))
	p := s.run(pod("main", mounts("data")))
	if p.Spec.NodeName != other {
		s.Fatalf("the pod is on %q, which is full", p.Spec.NodeName)
	}
	// Nowhere is room for one more, and the pod says why it waits.
	s.capacity(other, "less than 600Mi", func(free resource.Quantity) bool { return free.Cmp(resource.MustParse("600Mi")) < 0 })
	s.create(claims, claim("more", small, "600Mi"))
	s.create(pods, pod("more", mounts("more")))
	s.event("more", "did not have enough free storage")
	s.remove(pods, "filler")
	s.remove(claims, "filler")
	if p := s.running("more"); p.Spec.NodeName != full {
		s.Fatalf("the pod is on %q, the room is on %q", p.Spec.NodeName, full)
	}
}

// capacity waits until the capacity of the class "small" on a node is as wanted.
func (s *space) capacity(node, wanted string, is func(resource.Quantity) bool) {
	s.Helper()
	var last storagev1.CSIStorageCapacity
	what := fmt.Sprintf("the capacity of %s on %s", small, node)
	s.follow(s.in(capacities, system), what, "", wanted, func(u *unstructured.Unstructured) bool {
		if u == nil {
			return false
		}
		var c storagev1.CSIStorageCapacity
		ok(s, "convert", runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &c))
		if c.StorageClassName != small || c.NodeTopology == nil || c.NodeTopology.MatchLabels[nodeLabel] != node || c.Capacity == nil {
			return false
		}
		last = c
		return is(*c.Capacity)
	})
	s.Logf("%s: %s", what, last.Capacity)
}

// taintsAreRespected: loam goes on on a node that is tainted, for pods that tolerate it, and gives no volume there to
// those that do not.
func taintsAreRespected(s *space) {
	all := s.nodes(s.T)
	tainted, other := all[1], all[0]
	before := s.nodePod(tainted)
	taint := func(list ...v1.Taint) {
		fields := map[string]any{"spec": map[string]any{"taints": list}}
		_, err := s.kube.CoreV1().Nodes().Patch(s.ctx, tainted, types.MergePatchType, []byte(marshal(s, fields)), metav1.PatchOptions{})
		ok(s, "taint "+tainted, err)
	}
	taint(v1.Taint{Key: "loam-test", Effect: v1.TaintEffectNoSchedule}, v1.Taint{Key: "loam-test-out", Effect: v1.TaintEffectNoExecute})
	defer taint()

	s.create(claims, claim("ordinary", late, "64Mi"))
	if p := s.run(pod("ordinary", mounts("ordinary"))); p.Spec.NodeName != other {
		s.Fatalf("a pod without toleration is on %q, which is tainted", p.Spec.NodeName)
	}
	s.create(claims, claim("tolerant", late, "64Mi"))
	s.run(pod("tolerant", mounts("tolerant"), onNode(tainted), tolerates("loam-test"), tolerates("loam-test-out")))
	s.writes("tolerant", "/tolerant/file", "here")
	if after := s.nodePod(tainted); after.UID != before.UID {
		s.Fatalf("the taint drove loam off the node: its pod was %q and is %q", before.Name, after.Name)
	}
	s.remove(pods, "tolerant")
}

// attachmentComesAndGoes: with attach.enabled a VolumeAttachment says where a volume is, for as long as a pod has it.
func attachmentComesAndGoes(s *space) {
	s.create(claims, claim("data", late, "64Mi"))
	p := s.run(pod("main", mounts("data")))
	pv := s.bound("data")
	a := s.attachmentOf(pv.Name)
	if a == nil || a.Spec.NodeName != p.Spec.NodeName || a.Spec.Attacher != driver || !a.Status.Attached {
		s.Fatalf("the attachment of the volume is %+v, want one to %q", a, p.Spec.NodeName)
	}
	s.remove(pods, "main")
	s.gone(attachments, a.Name)
	s.run(pod("main", mounts("data")))
	if a := s.attachmentOf(pv.Name); a == nil || !a.Status.Attached {
		s.Fatalf("the attachment of the volume is %+v when a pod has it again", a)
	}
}

// noAttachments: without attach.enabled nothing waits for one.
func noAttachments(s *space) {
	s.create(claims, claim("data", late, "64Mi"))
	s.run(pod("main", mounts("data")))
	if a := s.attachmentOf(s.bound("data").Name); a != nil {
		s.Fatalf("there is the attachment %+v", a)
	}
}

func (s *space) attachmentOf(pv string) *storagev1.VolumeAttachment {
	s.Helper()
	list, err := s.kube.StorageV1().VolumeAttachments().List(s.ctx, listAll)
	ok(s, "list VolumeAttachments", err)
	i := slices.IndexFunc(list.Items, func(a storagev1.VolumeAttachment) bool {
		return a.Spec.Source.PersistentVolumeName != nil && *a.Spec.Source.PersistentVolumeName == pv
	})
	if i < 0 {
		return nil
	}
	return &list.Items[i]
}
