package suite

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// busybox is an image that the nodes have.
const busybox = "registry.k8s.io/e2e-test-images/busybox:1.37.0-2"

// The StorageClasses of the tests, made when loam is installed.
const (
	late      = "loam-test"           // WaitForFirstConsumer, ext4
	immediate = "loam-test-immediate" // bound at once
	xfs       = "loam-test-xfs"
	retained  = "loam-test-retain"   // what was deleted stays on the disk
	small     = "loam-test-small"    // in the pool "small", which one test fills
	options   = "loam-test-options"  // with mount options
	refused   = "loam-test-refused"  // with a mount option that loam refuses
	trusting  = "loam-test-trusting" // mounts what was used as a block device
	unknown   = "loam-test-unknown"  // with a parameter that loam does not know
)

// claim returns a claim of a gibibyte at most, such as "64Mi".
func claim(name, class, size string, edit ...func(*v1.PersistentVolumeClaim)) *v1.PersistentVolumeClaim {
	c := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PersistentVolumeClaimSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, StorageClassName: &class,
			Resources: v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}},
		},
	}
	for _, e := range edit {
		e(c)
	}
	return c
}

func blockMode(c *v1.PersistentVolumeClaim) { c.Spec.VolumeMode = new(v1.PersistentVolumeBlock) }

func accessMode(mode v1.PersistentVolumeAccessMode) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { c.Spec.AccessModes = []v1.PersistentVolumeAccessMode{mode} }
}

// from makes a claim that begins as a copy of a claim or of a snapshot.
func from(k kind, name string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) {
		c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: name}
		if k == snapshots {
			c.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: new("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: name}
		}
	}
}

func labelled(key, value string) func(*v1.PersistentVolumeClaim) {
	return func(c *v1.PersistentVolumeClaim) { metav1.SetMetaDataLabel(&c.ObjectMeta, key, value) }
}

// pod returns a pod that waits for commands, and ends at once when it is told to.
func pod(name string, edit ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(5)),
			Containers: []v1.Container{{
				Name: "main", Image: busybox, ImagePullPolicy: v1.PullIfNotPresent,
				Command: []string{"sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"},
			}},
		},
	}
	for _, e := range edit {
		e(p)
	}
	return p
}

// mounts mounts a claim at /<claim>.
func mounts(claims ...string) func(*v1.Pod) {
	return func(p *v1.Pod) {
		for _, name := range claims {
			with(name, v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: name}})(p)
		}
	}
}

// with mounts a volume at /<name>.
func with(name string, source v1.VolumeSource) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: name, VolumeSource: source})
		c := &p.Spec.Containers[0]
		c.VolumeMounts = append(c.VolumeMounts, v1.VolumeMount{Name: name, MountPath: "/" + name})
	}
}

// devices gives a pod a claim as a block device, /dev/<claim>.
func devices(claims ...string) func(*v1.Pod) {
	return func(p *v1.Pod) {
		for _, name := range claims {
			p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: name, VolumeSource: v1.VolumeSource{
				PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: name}}})
			c := &p.Spec.Containers[0]
			c.VolumeDevices = append(c.VolumeDevices, v1.VolumeDevice{Name: name, DevicePath: "/dev/" + name})
		}
	}
}

// runs lets the pod run a shell command instead, and end with it.
func runs(command string) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.RestartPolicy = v1.RestartPolicyNever
		p.Spec.Containers[0].Command = []string{"sh", "-c", command}
	}
}

// onNode lets the pod run on one node only.
func onNode(node string) func(*v1.Pod) {
	return func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{v1.LabelHostname: node} }
}

func tolerates(key string) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, v1.Toleration{Key: key, Operator: v1.TolerationOpExists})
	}
}
