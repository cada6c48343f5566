package suite

import (
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// expandXFS and expandExt4 grow a volume under a pod that has it.
func expandXFS(s *space) { expandRunning(s, xfs, "320Mi", "640Mi") }

func expandExt4(s *space) { expandRunning(s, late, "64Mi", "256Mi") }

func expandRunning(s *space, class, before, after string) {
	s.create(claims, claim("data", class, before))
	p := s.run(pod("main", mounts("data")))
	s.writes("main", "/data/file", "kept")
	was := s.kibibytes("main", "/data")
	s.grow("data", after)
	if class == late {
		s.skipWhereExt4CannotGrow(p)
	}
	s.grown("data")
	if is := s.kibibytes("main", "/data"); is < was*3/2 {
		s.Fatalf("the file system has %d KiB, and had %d before", is, was)
	}
	s.reads("main", "/data/file", "kept")
	now, err := s.kube.CoreV1().Pods(s.name).Get(s.ctx, "main", metav1.GetOptions{})
	ok(s, "get the pod", err)
	if now.UID != p.UID || now.Status.ContainerStatuses[0].RestartCount != 0 {
		s.Fatal("the pod was started again")
	}
}

// skipWhereExt4CannotGrow skips the test, with the error, where the kernel does not let anybody in this machine grow
// a mounted ext4. It waits for the error: it is no guess.
func (s *space) skipWhereExt4CannotGrow(p *v1.Pod) {
	s.Helper()
	status, err := command(s.ctx, "grep", "CapBnd", "/proc/self/status")
	ok(s, "read the capabilities of this machine", err)
	_, mask, _ := strings.Cut(strings.TrimSpace(status), "\t")
	bits, err := strconv.ParseUint(mask, 16, 64)
	ok(s, "read the capabilities of this machine", err)
	const sysResource = 24
	if bits&(1<<sysResource) != 0 {
		return
	}
	said := s.event(p.Name, "CAP_SYS_RESOURCE")
	s.Skipf("root has no CAP_SYS_RESOURCE on this machine: %s", said)
}

func hasCondition(c *v1.PersistentVolumeClaim, is v1.PersistentVolumeClaimConditionType) bool {
	return slices.ContainsFunc(c.Status.Conditions, func(condition v1.PersistentVolumeClaimCondition) bool {
		return condition.Type == is && condition.Status == v1.ConditionTrue
	})
}

// expandUnusedXFS and expandUnusedExt4 grow a volume that no pod has; the file system follows when one does.
func expandUnusedXFS(s *space) { expandUnused(s, xfs, "320Mi", "640Mi") }

func expandUnusedExt4(s *space) { expandUnused(s, late, "64Mi", "256Mi") }

func expandUnused(s *space, class, before, after string) {
	s.create(claims, claim("data", class, before))
	s.run(pod("main", mounts("data")))
	s.writes("main", "/data/file", "kept")
	was := s.kibibytes("main", "/data")
	s.remove(pods, "main")
	s.grow("data", after)
	until(s, claims, "data", "waiting for its file system to grow", func(c *v1.PersistentVolumeClaim) bool {
		return hasCondition(c, v1.PersistentVolumeClaimFileSystemResizePending)
	})
	p := pod("main", mounts("data"))
	s.create(pods, p)
	if class == late {
		s.skipWhereExt4CannotGrow(p)
	}
	s.running("main")
	s.grown("data")
	if is := s.kibibytes("main", "/data"); is < was*3/2 {
		s.Fatalf("the file system has %d KiB, and had %d before", is, was)
	}
	s.reads("main", "/data/file", "kept")
}

func expandBlock(s *space) {
	s.create(claims, claim("disk", late, "64Mi", blockMode))
	s.run(pod("main", devices("disk")))
	s.must("main", "printf kept | dd of=/dev/disk conv=fsync,notrunc")
	s.grow("disk", "128Mi")
	s.grown("disk")
	if size := s.must("main", "blockdev --getsize64 /dev/disk"); size != strconv.Itoa(128<<20) {
		s.Fatalf("the device has %s bytes, 128Mi were asked", size)
	}
	if got := s.must("main", "head -c 4 /dev/disk"); got != "kept" {
		s.Fatalf("the device begins with %q where %q was written", got, "kept")
	}
}

// grown waits until a claim has the size that it asks for.
func (s *space) grown(name string) {
	s.Helper()
	until(s, claims, name, "as large as it asks", func(c *v1.PersistentVolumeClaim) bool {
		capacity := c.Status.Capacity.Storage()
		return capacity.Cmp(*c.Spec.Resources.Requests.Storage()) >= 0 && !hasCondition(c, v1.PersistentVolumeClaimFileSystemResizePending) &&
			!hasCondition(c, v1.PersistentVolumeClaimResizing)
	})
}

// kibibytes returns the size of a file system as a pod sees it.
func (s *space) kibibytes(pod, path string) int {
	s.Helper()
	text := s.must(pod, "df -Pk "+path+" | tail -n 1 | tr -s ' ' | cut -d' ' -f2")
	n, err := strconv.Atoi(text)
	ok(s, "read df", err)
	return n
}
