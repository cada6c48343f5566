package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func nodePods(c cluster) map[string]core.PodSpec {
	pods := map[string]core.PodSpec{}
	for _, d := range all[*apps.DaemonSet](c) {
		pods[d.Name] = d.Spec.Template.Spec
	}
	return pods
}

// TestSelectors: what selects pods selects those that it is made for, and no others.
func TestSelectors(t *testing.T) {
	c := with(t, "nodeGroups: [{name: fast, nodeSelector: {disks: nvme}, config: {pools: [{name: a, lvm: {volumeGroup: vg0}}]}}]")
	templates := map[string]map[string]string{}
	selectors := map[string]*meta.LabelSelector{}
	for _, d := range all[*apps.DaemonSet](c) {
		templates[d.Name], selectors[d.Name] = d.Spec.Template.Labels, d.Spec.Selector
	}
	s := get[*apps.StatefulSet](c, "loam-controller")
	templates[s.Name], selectors[s.Name] = s.Spec.Template.Labels, s.Spec.Selector
	budget := get[*policy.PodDisruptionBudget](c, "loam-controller")
	selectors["loam-controller of the budget"] = budget.Spec.Selector
	service := get[*core.Service](c, "loam-controller")
	selectors["loam-controller of the service"] = meta.SetAsLabelSelector(service.Spec.Selector)
	for who, selector := range selectors {
		matcher, err := meta.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		for pod, template := range templates {
			same(t, who+" selects pods of "+pod, matcher.Matches(labels.Set(template)), strings.Split(who, " ")[0] == pod)
		}
	}
	same(t, "name of the service", s.Spec.ServiceName, service.Name)
	same(t, "address of the service", service.Spec.ClusterIP, core.ClusterIPNone)
}

// TestControllerIsUnprivileged: each container of it could do no less.
func TestControllerIsUnprivileged(t *testing.T) {
	pod := with(t, "attach: {enabled: true}").controller()
	same(t, "containers", containers(pod), "loam csi-provisioner csi-attacher csi-resizer csi-snapshotter")
	same(t, "host", pod.HostNetwork || pod.HostPID || pod.HostIPC, false)
	same(t, "seccomp", pod.SecurityContext.SeccompProfile.Type, core.SeccompProfileTypeRuntimeDefault)
	same(t, "not root", *pod.SecurityContext.RunAsNonRoot, true)
	if *pod.SecurityContext.RunAsUser == 0 {
		t.Error("it runs as root")
	}
	for _, c := range pod.Containers {
		s := c.SecurityContext
		same(t, c.Name+" escalates", *s.AllowPrivilegeEscalation, false)
		same(t, c.Name+" cannot write its root", *s.ReadOnlyRootFilesystem, true)
		same(t, c.Name+" drops", text(s.Capabilities), "drop:\n- ALL\n")
		same(t, c.Name+" is privileged", s.Privileged != nil, false)
		if s.RunAsUser != nil || s.RunAsNonRoot != nil {
			t.Errorf("%s has a user of its own: the socket is for one", c.Name)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
			t.Errorf("%s asks for no resources", c.Name)
		}
		if c.LivenessProbe == nil {
			t.Errorf("%s is not looked after", c.Name)
		}
	}
	for _, v := range pod.Volumes {
		if v.HostPath != nil {
			t.Errorf("it has %s of the host", v.HostPath.Path)
		}
	}
}

// TestSidecars: they elect a leader, ask quickly, and each has a port of its own.
func TestSidecars(t *testing.T) {
	c := with(t, "attach: {enabled: true}\nsidecars: {qps: 111, burst: 222, leaseDuration: 30s, provisioner: {workers: 7}, resizer: {workers: 8}}")
	pod := c.controller()
	ports := map[int32]string{}
	for _, sidecar := range pod.Containers {
		for _, p := range sidecar.Ports {
			if other, taken := ports[p.ContainerPort]; taken {
				t.Errorf("%s and %s have the same port", sidecar.Name, other)
			}
			ports[p.ContainerPort] = sidecar.Name
		}
		if sidecar.Name == "loam" {
			continue
		}
		for _, want := range []string{"--leader-election", "--leader-election-namespace=$(NAMESPACE)", "--kube-api-qps=111", "--kube-api-burst=222",
			"--leader-election-lease-duration=30s", "--leader-election-renew-deadline=20s", fmt.Sprintf("--http-endpoint=:%d", sidecar.Ports[0].ContainerPort)} {
			hasArg(t, sidecar, want)
		}
		same(t, "probe of "+sidecar.Name, sidecar.LivenessProbe.HTTPGet.Port.IntVal, sidecar.Ports[0].ContainerPort)
		seen := map[string]bool{}
		for _, arg := range sidecar.Args {
			flag, _, _ := strings.Cut(arg, "=")
			if seen[flag] {
				t.Errorf("%s is told %s twice", sidecar.Name, flag)
			}
			seen[flag] = true
		}
	}
	provisioner := container(t, pod, "csi-provisioner")
	for _, want := range []string{"--worker-threads=7", "--extra-create-metadata", "--enable-capacity", "--capacity-ownerref-level=1"} {
		hasArg(t, provisioner, want)
	}
	// A restore must be able to land on the node of its source.
	if slices.ContainsFunc(provisioner.Args, func(arg string) bool { return strings.HasPrefix(arg, "--strict-topology") }) {
		t.Error("csi-provisioner passes on the chosen node only")
	}
	// Of these the provisioner needs both to find the StatefulSet that owns what it says of capacity.
	environment := map[string]string{}
	for _, e := range provisioner.Env {
		environment[e.Name] = e.ValueFrom.FieldRef.FieldPath
	}
	same(t, "namespace", environment["NAMESPACE"], "metadata.namespace")
	same(t, "pod", environment["POD_NAME"], "metadata.name")
	hasArg(t, container(t, pod, "csi-resizer"), "--workers=8")
	hasArg(t, container(t, pod, "csi-snapshotter"), "--extra-create-metadata")
}

func hasArg(t *testing.T, c core.Container, want string) {
	t.Helper()
	if !slices.Contains(c.Args, want) {
		t.Errorf("%s has no %s: %s", c.Name, want, strings.Join(c.Args, " "))
	}
}

// TestNode: one container, which sees of the host what it needs, and has no part of its network and processes.
func TestNode(t *testing.T) {
	c := with(t, "node: {directories: [/var/lib/loam, /mnt/disks]}\nkubeletDir: /data/kubelet")
	pod := c.node()
	same(t, "containers", containers(pod), "loam")
	same(t, "host", pod.HostNetwork || pod.HostPID || pod.HostIPC, false)
	same(t, "priority", pod.PriorityClassName, "system-node-critical")
	same(t, "tolerations", text(pod.Tolerations), "- operator: Exists\n")
	node := pod.Containers[0]
	same(t, "privileged", *node.SecurityContext.Privileged, true)
	same(t, "cannot write its root", *node.SecurityContext.ReadOnlyRootFilesystem, true)
	type use struct {
		path string
		kind core.HostPathType
		back core.MountPropagationMode // what is mounted there is seen by the host
	}
	uses := map[string]use{}
	for _, v := range pod.Volumes {
		if v.HostPath != nil {
			uses[v.Name] = use{path: v.HostPath.Path, kind: *v.HostPath.Type}
		}
	}
	for _, m := range node.VolumeMounts {
		if u, ok := uses[m.Name]; ok {
			same(t, "where "+u.path+" is seen", m.MountPath, u.path)
			if m.MountPropagation != nil {
				u.back = *m.MountPropagation
			}
			uses[m.Name] = u
		}
	}
	same(t, "what it has of the host", fmt.Sprint(uses), fmt.Sprint(map[string]use{
		"kubelet": {"/data/kubelet", core.HostPathDirectory, core.MountPropagationBidirectional},
		"pools-0": {"/var/lib/loam", core.HostPathDirectoryOrCreate, core.MountPropagationBidirectional},
		"pools-1": {"/mnt/disks", core.HostPathDirectory, core.MountPropagationBidirectional},
		"dev":     {"/dev", core.HostPathDirectory, ""},
		"lvm":     {"/run/lock/lvm", core.HostPathDirectoryOrCreate, ""},
	}))
	same(t, "what it has of /var/lib/loam, whatever the directories", fmt.Sprint(
		statesOf(with(t, "{config: {pools: [{name: a, lvm: {volumeGroup: vg0}}]}, node: {directories: [/mnt/disks]}}")), statesOf(with(t, "node: {directories: [/mnt/disks, /var/lib/loam/default]}")),
		statesOf(with(t, "node: {directories: [/var/lib]}")), statesOf(c)),
		"[/var/lib/loam DirectoryOrCreate] [/var/lib/loam DirectoryOrCreate] [] []")
	same(t, "liveness", node.LivenessProbe.HTTPGet.Path, "/healthz")
	same(t, "readiness", node.ReadinessProbe.HTTPGet.Path, "/readyz")
	same(t, "name of the machine", text(node.Env), "- name: NODE_NAME\n  valueFrom:\n    fieldRef:\n      fieldPath: spec.nodeName\n")
	same(t, "how many at once", get[*apps.DaemonSet](c, "loam-node").Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String(), "10%")
}

// TestNodesKnowEachReplica: a node connects to all of them.
func TestNodesKnowEachReplica(t *testing.T) {
	for replicas := 1; replicas <= 3; replicas++ {
		c := with(t, fmt.Sprintf("controller: {replicas: %d}", replicas))
		var got []string
		for _, arg := range c.node().Containers[0].Args {
			if address, ok := strings.CutPrefix(arg, "--controller="); ok {
				got = append(got, address)
			}
		}
		var want []string
		for i := range replicas {
			want = append(want, fmt.Sprintf("loam-controller-%d.loam-controller.loam-system.svc:9443", i))
		}
		same(t, "controllers", strings.Join(got, " "), strings.Join(want, " "))
		same(t, "replicas", int(*get[*apps.StatefulSet](c, "loam-controller").Spec.Replicas), replicas)
	}
}

// statesOf returns where a node's pod has what the machine remembers, where none of its directories has it.
func statesOf(c cluster) []string {
	spec := get[*apps.DaemonSet](c, "loam-node").Spec.Template.Spec
	var states []string
	for _, v := range spec.Volumes {
		for _, m := range spec.Containers[0].VolumeMounts {
			if v.Name == "state" && m.Name == "state" && v.HostPath.Path == m.MountPath {
				states = append(states, m.MountPath+" "+string(*v.HostPath.Type))
			}
		}
	}
	return states
}

// TestConfigurationRolls: pods begin anew with another configuration, and only then.
func TestConfigurationRolls(t *testing.T) {
	of := func(values string) string {
		return text(get[*apps.DaemonSet](with(t, values), "loam-node").Spec.Template)
	}
	const larger = "config: {pools: [{name: default, loop: {directory: /var/lib/loam/default, size: 60Gi}}]}"
	if of("") == of(larger) {
		t.Error("another configuration is the same pod")
	}
	same(t, "pod with another StorageClass", of("storageClasses: [{name: other}]"), of(""))
	same(t, "the configuration", strings.TrimSpace(get[*core.ConfigMap](with(t, larger), "loam-config").Data["config.yaml"]),
		"pools:\n- loop:\n    directory: /var/lib/loam/default\n    size: 60Gi\n  name: default")
}
