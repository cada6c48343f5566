package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

const groups = `
nodeGroups:
  - {name: fast, nodeSelector: {disks: nvme, room: a}, config: {pools: [{name: a, lvm: {volumeGroup: fast}}]}}
  - {name: some, nodeSelector: {disks: nvme}, config: {pools: [{name: a, lvm: {volumeGroup: some}}]}}
  - {name: slow, nodeSelector: {slow: "yes"}, config: {pools: [{name: a, lvm: {volumeGroup: slow}}]}}
`

// on returns which pods of nodes the cluster would put on a node with those labels, and linux.
func (c cluster) on(labels map[string]string) string {
	c.Helper()
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: "it", Labels: maps.Clone(labels)}}
	if node.Labels == nil {
		node.Labels = map[string]string{}
	}
	if _, other := node.Labels["kubernetes.io/os"]; !other {
		node.Labels["kubernetes.io/os"] = "linux"
	}
	var found []string
	for name, pod := range nodePods(c) {
		matches, err := nodeaffinity.GetRequiredNodeAffinity(&core.Pod{Spec: pod}).Match(node)
		if err != nil {
			c.Fatal(err)
		}
		if matches {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

// TestEachNodeIsInOneGroup: two drivers on a node would fight for its disks.
func TestEachNodeIsInOneGroup(t *testing.T) {
	type node struct {
		labels map[string]string
		want   string // pods on it
	}
	for values, nodes := range map[string][]node{
		"": {
			{nil, "loam-node"},
			{map[string]string{"disks": "nvme"}, "loam-node"},
			{map[string]string{"kubernetes.io/os": "windows"}, ""},
		},
		groups: {
			{nil, "loam-node"},
			{map[string]string{"room": "a"}, "loam-node"},
			{map[string]string{"disks": "nvme", "room": "a"}, "loam-node-fast"},
			{map[string]string{"disks": "nvme", "room": "b"}, "loam-node-some"},
			{map[string]string{"disks": "nvme"}, "loam-node-some"},
			{map[string]string{"disks": "nvme", "room": "a", "slow": "yes"}, "loam-node-fast"},
			{map[string]string{"disks": "nvme", "slow": "yes"}, "loam-node-some"},
			{map[string]string{"slow": "yes"}, "loam-node-slow"},
			{map[string]string{"slow": "no"}, "loam-node"},
			{map[string]string{"slow": "yes", "kubernetes.io/os": "windows"}, ""},
		},
		// What no node gets is not looked at.
		groups + "config: {pools: [{name: far, loop: {directory: /srv}}]}\nnode: {enabled: false}\n": {
			{nil, ""},
		},
		groups + "node: {enabled: false}": {
			{nil, ""},
			{map[string]string{"slow": "yes"}, "loam-node-slow"},
		},
		// What the user says of all nodes holds in each group.
		groups + `
node:
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          - matchExpressions: [{key: mine, operator: Exists}]
          - matchExpressions: [{key: ours, operator: Exists}]
`: {
			{nil, ""},
			{map[string]string{"mine": ""}, "loam-node"},
			{map[string]string{"ours": ""}, "loam-node"},
			{map[string]string{"disks": "nvme"}, ""},
			{map[string]string{"disks": "nvme", "ours": ""}, "loam-node-some"},
			{map[string]string{"disks": "nvme", "room": "a", "mine": ""}, "loam-node-fast"},
		},
	} {
		c := with(t, values)
		for _, n := range nodes {
			if got := c.on(n.labels); got != n.want {
				t.Errorf("on a node with %v: %q, want %q, with the values%s", n.labels, got, n.want, values)
			}
		}
	}
}

// TestEachGroupHasItsConfiguration: of its pods, too.
func TestEachGroupHasItsConfiguration(t *testing.T) {
	c := with(t, groups)
	same(t, "ConfigMaps", names[*core.ConfigMap](c), "loam-config loam-config-fast loam-config-slow loam-config-some loam-controller-ca")
	for group, want := range map[string]string{"-fast": "volumeGroup: fast", "-some": "volumeGroup: some", "": "size: 50Gi"} {
		config := get[*core.ConfigMap](c, "loam-config"+group)
		if !strings.Contains(config.Data["config.yaml"], want) {
			t.Errorf("configuration of %q: %s", group, config.Data["config.yaml"])
		}
		for _, v := range nodePods(c)["loam-node"+group].Volumes {
			if v.Name == "config" {
				same(t, "ConfigMap of the pods", v.ConfigMap.Name, config.Name)
			}
		}
	}
}
