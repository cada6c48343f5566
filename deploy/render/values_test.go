package main

import (
	"fmt"
	"strings"
	"testing"

	groupsnapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumegroupsnapshot/v1"
	snapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	storage "k8s.io/api/storage/v1"
)

// TestClasses: the defaults, and what values make of them.
func TestClasses(t *testing.T) {
	c := with(t, "")
	class := get[*storage.StorageClass](c, "loam")
	same(t, "provisioner", class.Provisioner, "loam.storage")
	same(t, "binding", *class.VolumeBindingMode, storage.VolumeBindingWaitForFirstConsumer)
	same(t, "expansion", *class.AllowVolumeExpansion, true)
	same(t, "reclaim", *class.ReclaimPolicy, core.PersistentVolumeReclaimDelete)
	same(t, "annotations", len(class.Annotations), 0)
	same(t, "snapshot classes", names[*snapshot.VolumeSnapshotClass](c), "loam")
	same(t, "group snapshot classes", names[*groupsnapshot.VolumeGroupSnapshotClass](c), "loam")

	c = with(t, `
storageClasses:
  - {name: a}
  - {name: b, default: true, reclaimPolicy: Retain, volumeBindingMode: Immediate, allowVolumeExpansion: false, mountOptions: [noatime], parameters: {pool: fast}}
volumeSnapshotClasses: [{name: s, default: true, deletionPolicy: Retain, parameters: {x: "y"}}]
volumeGroupSnapshotClasses: [{name: g, default: true, deletionPolicy: Retain, parameters: {x: "y"}}]
`)
	same(t, "classes", names[*storage.StorageClass](c), "a b")
	same(t, "expansion of a", *get[*storage.StorageClass](c, "a").AllowVolumeExpansion, true)
	b := get[*storage.StorageClass](c, "b")
	same(t, "b", line(*b.ReclaimPolicy, *b.VolumeBindingMode, *b.AllowVolumeExpansion, b.MountOptions, b.Parameters, b.Annotations),
		"Retain Immediate false [noatime] map[pool:fast] map[storageclass.kubernetes.io/is-default-class:true]")
	s := get[*snapshot.VolumeSnapshotClass](c, "s")
	same(t, "s", line(s.Driver, s.DeletionPolicy, s.Parameters, s.Annotations),
		"loam.storage Retain map[x:y] map[snapshot.storage.kubernetes.io/is-default-class:true]")
	g := get[*groupsnapshot.VolumeGroupSnapshotClass](c, "g")
	same(t, "g", line(g.Driver, g.DeletionPolicy, g.Parameters, g.Annotations),
		"loam.storage Retain map[x:y] map[groupsnapshot.storage.kubernetes.io/is-default-class:true]")
	same(t, "classes when there are none", names[*storage.StorageClass](with(t, "storageClasses: []")), "")
}

// line prints values with blanks between.
func line(values ...any) string { return strings.TrimSpace(fmt.Sprintln(values...)) }

// TestClustersWithoutSnapshots get no object that they do not know.
func TestClustersWithoutSnapshots(t *testing.T) {
	c := withAPIs(t, "")
	same(t, "snapshot classes", names[*snapshot.VolumeSnapshotClass](c)+names[*groupsnapshot.VolumeGroupSnapshotClass](c), "")
	c = withAPIs(t, "", snapshotAPIs[0])
	same(t, "snapshot classes", names[*snapshot.VolumeSnapshotClass](c), "loam")
	same(t, "group snapshot classes", names[*groupsnapshot.VolumeGroupSnapshotClass](c), "")
	c = with(t, "sidecars: {snapshotter: {enabled: false}}")
	same(t, "classes without a snapshotter", names[*snapshot.VolumeSnapshotClass](c)+names[*groupsnapshot.VolumeGroupSnapshotClass](c), "")
	same(t, "containers without a snapshotter", containers(c.controller()), "loam csi-provisioner csi-resizer")
}

// helm upgrade --reuse-values has none of the values that are new in the chart.
func TestValuesOfAnEarlierRelease(t *testing.T) {
	c := with(t, "{ephemeral: null, controller: {image: null}, image: {repository: example.com/loam, tag: v1}}")
	same(t, "image of the controller", container(t, c.controller(), "loam").Image, "example.com/loam-controller:v1")
	same(t, "modes", line(get[*storage.CSIDriver](c, "loam.storage").Spec.VolumeLifecycleModes), line([]storage.VolumeLifecycleMode{storage.VolumeLifecyclePersistent, storage.VolumeLifecycleEphemeral}))
}

func TestDriver(t *testing.T) {
	for values, attach := range map[string]bool{"": false, "attach: {enabled: true}": true, "ephemeral: false": false} {
		c := with(t, values)
		modes := []storage.VolumeLifecycleMode{storage.VolumeLifecyclePersistent, storage.VolumeLifecycleEphemeral}
		if values == "ephemeral: false" {
			modes = modes[:1]
		}
		d := get[*storage.CSIDriver](c, "loam.storage").Spec
		same(t, "driver", line(*d.AttachRequired, *d.PodInfoOnMount, *d.StorageCapacity, *d.SELinuxMount, *d.RequiresRepublish, *d.FSGroupPolicy, d.VolumeLifecycleModes),
			line(attach, true, true, true, false, storage.FileFSGroupPolicy, modes))
		same(t, "attacher", strings.Contains(containers(c.controller()), "csi-attacher"), attach)
	}
}

// TestOptions: each of the remaining values is where it belongs.
func TestOptions(t *testing.T) {
	c := with(t, `
image: {repository: example.com/loam, tag: v1, digest: "sha256:`+strings.Repeat("0", 64)+`", pullPolicy: Always, pullSecrets: [{name: key}]}
node:
  tolerations: []
  nodeSelector: {a: b}
  priorityClassName: high
  maxUnavailable: 3
  resources: {limits: {memory: 1Gi}}
  podAnnotations: {note: "1"}
  extraArgs: [-v=5]
controller:
  tolerations: []
  nodeSelector: {c: d}
  affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}
  priorityClassName: low
  resources: {limits: {memory: 2Gi}}
  podAnnotations: {note: "2"}
  extraArgs: [-v=6]
podDisruptionBudget: {enabled: false}
sidecars: {verbosity: 7, provisioner: {image: example.com/p:1, capacityPollInterval: 30s, capacityForImmediateBinding: true}}
`)
	set, daemons := get[*apps.StatefulSet](c, "loam-controller"), get[*apps.DaemonSet](c, "loam-node")
	for what, pod := range map[string]core.PodSpec{"controller": c.controller(), "node": c.node()} {
		it := container(t, pod, "loam")
		image := map[string]string{"controller": "example.com/loam-controller:v1", "node": "example.com/loam:v1@sha256:" + strings.Repeat("0", 64)}
		same(t, "image of the "+what, it.Image, image[what])
		same(t, "pull policy of the "+what, it.ImagePullPolicy, core.PullAlways)
		same(t, "pull secrets of the "+what, text(pod.ImagePullSecrets), "- name: key\n")
		same(t, "tolerations of the "+what, len(pod.Tolerations), 0)
	}
	other := with(t, `controller: {image: {repository: example.com/other, tag: v2, digest: "sha256:`+strings.Repeat("1", 64)+`"}}`)
	same(t, "another image of the controller", container(t, other.controller(), "loam").Image, "example.com/other:v2@sha256:"+strings.Repeat("1", 64))
	same(t, "where nodes run", text(c.node().NodeSelector), "a: b\nkubernetes.io/os: linux\n")
	same(t, "where controllers run", text(c.controller().NodeSelector), "c: d\nkubernetes.io/os: linux\n")
	if c.controller().Affinity.PodAntiAffinity != nil {
		t.Error("the controller has an affinity beside the user's")
	}
	same(t, "priorities", c.node().PriorityClassName+" "+c.controller().PriorityClassName, "high low")
	same(t, "at once", daemons.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.IntValue(), 3)
	same(t, "memory of nodes", memoryLimit(t, c.node()), "1Gi")
	same(t, "memory of controllers", memoryLimit(t, c.controller()), "2Gi")
	same(t, "notes", daemons.Spec.Template.Annotations["note"]+set.Spec.Template.Annotations["note"], "12")
	hasArg(t, container(t, c.node(), "loam"), "-v=5")
	hasArg(t, container(t, c.controller(), "loam"), "-v=6")
	same(t, "budgets", len(all[*policy.PodDisruptionBudget](c)), 0)
	provisioner := container(t, c.controller(), "csi-provisioner")
	same(t, "image of the provisioner", provisioner.Image, "example.com/p:1")
	for _, want := range []string{"--v=7", "--capacity-poll-interval=30s", "--capacity-for-immediate-binding=true"} {
		hasArg(t, provisioner, want)
	}
}

// TestOwnCertificate: with one of the user's the controller makes none. Nodes do not get its key: a kubelet may read each
// Secret that a pod of its node mounts, all of it.
func TestOwnCertificate(t *testing.T) {
	c := with(t, "controller: {certificateSecret: mine, certificateConfigMap: ours}")
	hasArg(t, container(t, c.controller(), "loam"), "--certificate=/etc/loam/tls/tls.crt")
	same(t, "Secrets of the controller", secretsOf(c.controller()), "mine")
	for values, want := range map[string]string{"": "loam-controller-ca", "controller: {certificateSecret: mine, certificateConfigMap: ours}": "ours"} {
		pod := with(t, values).node()
		same(t, "Secrets of a node", secretsOf(pod), "")
		for _, v := range pod.Volumes {
			if v.Name == "authority" {
				same(t, "whom nodes trust", v.ConfigMap.Name, want)
			}
		}
	}
}

// secretsOf returns the Secrets that a pod mounts.
func secretsOf(pod core.PodSpec) string {
	var mounted []string
	for _, v := range pod.Volumes {
		if v.Secret != nil {
			mounted = append(mounted, v.Secret.SecretName)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.Secret != nil {
					mounted = append(mounted, s.Secret.Name)
				}
			}
		}
	}
	return strings.Join(mounted, " ")
}

// TestTextStaysText: names that YAML would read as something else, and directories with what it has a use for.
func TestTextStaysText(t *testing.T) {
	for _, name := range []string{"1", "on", "yes", "null", "1e3"} {
		c := with(t, strings.ReplaceAll(`
storageClasses: [{name: "NAME"}]
volumeSnapshotClasses: [{name: "NAME"}]
volumeGroupSnapshotClasses: [{name: "NAME"}]
nodeGroups: [{name: "NAME", nodeSelector: {a: b}, config: {pools: [{name: a, lvm: {volumeGroup: vg0}}]}}]
`, "NAME", name))
		same(t, "classes", names[*storage.StorageClass](c)+" "+names[*snapshot.VolumeSnapshotClass](c)+" "+names[*groupsnapshot.VolumeGroupSnapshotClass](c), name+" "+name+" "+name)
		set := get[*apps.DaemonSet](c, "loam-node-"+name)
		same(t, "group", set.Spec.Selector.MatchLabels["loam.storage/group"]+" "+set.Spec.Template.Labels["loam.storage/group"], name+" "+name)
	}
	const odd = "/srv/a, b {c} #d"
	c := with(t, `{kubeletDir: "`+odd+`", node: {directories: [/var/lib/loam, "`+odd+`"]}}`)
	hasArg(t, container(t, c.node(), "loam"), "--kubelet-dir="+odd)
	mounted, found := map[string]string{}, 0
	for _, m := range container(t, c.node(), "loam").VolumeMounts {
		mounted[m.Name] = m.MountPath
	}
	for _, v := range c.node().Volumes {
		if v.HostPath != nil && v.HostPath.Path == odd {
			found++
			same(t, "where "+v.Name+" is mounted", mounted[v.Name], odd)
		}
	}
	same(t, "volumes of that directory", found, 2)
}

// TestNotes is what Helm prints in the end, of any values.
func TestNotes(t *testing.T) {
	for values, want := range map[string]string{
		"":                                `storageClassName: "loam"`,
		"storageClasses: []":              "loam runs in loam-system",
		"storageClasses: [{name: other}]": `storageClassName: "other"`,
		groups + "node: {enabled: false}": "exec ds/loam-node-fast",
	} {
		files, err := renderFiles(parse(t, values))
		if err != nil {
			t.Errorf("%s: %v", values, err)
		} else if notes := files["loam/templates/"+notesFile]; !strings.Contains(notes, want) || !strings.Contains(notes, "has no snapshots") {
			t.Errorf("%s: %s", values, notes)
		}
	}
}

func memoryLimit(t *testing.T, pod core.PodSpec) string {
	t.Helper()
	c := container(t, pod, "loam")
	return c.Resources.Limits.Memory().String()
}
