package main

import (
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	rbac "k8s.io/api/rbac/v1"
)

// grants returns each right that rules give, one a line: group/resource[name] verb.
func grants(rules []rbac.PolicyRule) string {
	var lines []string
	for _, r := range rules {
		if len(r.NonResourceURLs) > 0 {
			lines = append(lines, "urls "+strings.Join(r.NonResourceURLs, " "))
		}
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				what := resource
				if group != "" {
					what = group + "/" + resource
				}
				if len(r.ResourceNames) > 0 {
					what += "[" + strings.Join(r.ResourceNames, " ") + "]"
				}
				verbs := slices.Clone(r.Verbs)
				slices.Sort(verbs)
				lines = append(lines, what+": "+strings.Join(verbs, " "))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

const snapshotGrants = `
groupsnapshot.storage.k8s.io/volumegroupsnapshotclasses: get list watch
groupsnapshot.storage.k8s.io/volumegroupsnapshotcontents/status: patch update
groupsnapshot.storage.k8s.io/volumegroupsnapshotcontents: get list patch update watch`

// TestAccess is all that the pods of the controller may do: for loam tokenreviews, nodes, events, and its one Secret
// and ConfigMap; for each sidecar what the deploy/kubernetes/rbac.yaml of its release asks for.
func TestAccess(t *testing.T) {
	const inNamespace = `configmaps[loam-controller-ca]: get update
coordination.k8s.io/leases: create delete get list update watch
events.k8s.io/events: create
pods: get
secrets[loam-controller-tls]: get update
storage.k8s.io/csistoragecapacities: create delete get list patch update watch`
	const everywhere = `authentication.k8s.io/tokenreviews: create
events: create list patch update watch` + snapshotGrants + `
nodes: get list watch
persistentvolumeclaims/status: patch
persistentvolumeclaims: get list update watch
persistentvolumes: create delete get list patch watch
snapshot.storage.k8s.io/volumesnapshotclasses: get list watch
snapshot.storage.k8s.io/volumesnapshotcontents/status: patch update
snapshot.storage.k8s.io/volumesnapshotcontents: get list patch update watch
snapshot.storage.k8s.io/volumesnapshots: get list update watch
storage.k8s.io/csinodes: get list watch
storage.k8s.io/storageclasses: get list watch
storage.k8s.io/volumeattachments: get list watch
storage.k8s.io/volumeattributesclasses: get list watch`
	c := with(t, "")
	same(t, "Roles", names[*rbac.Role](c), "loam-controller")
	same(t, "ClusterRoles", names[*rbac.ClusterRole](c), "loam-controller")
	role, clusterRole := get[*rbac.Role](c, "loam-controller"), get[*rbac.ClusterRole](c, "loam-controller")
	same(t, "rights in the namespace", grants(role.Rules), inNamespace)
	same(t, "rights everywhere", grants(clusterRole.Rules), everywhere)

	// What is not needed is not given.
	c = with(t, "controller: {certificateSecret: mine, certificateConfigMap: ours}\nsidecars: {snapshotter: {enabled: false}}")
	if got := grants(get[*rbac.Role](c, "loam-controller").Rules); strings.Contains(got, "secrets") || strings.Contains(got, "configmaps") {
		t.Errorf("rights with a certificate of one's own: %s", got)
	}
	if got := grants(get[*rbac.ClusterRole](c, "loam-controller").Rules); strings.Contains(got, "snapshot") {
		t.Errorf("rights without snapshots: %s", got)
	}
	c = with(t, "attach: {enabled: true}")
	attach := strings.Replace(everywhere, "storage.k8s.io/volumeattachments: get list watch",
		"storage.k8s.io/volumeattachments/status: patch\nstorage.k8s.io/volumeattachments: get list patch watch", 1)
	same(t, "rights with attach", grants(get[*rbac.ClusterRole](c, "loam-controller").Rules), attach)
}

// TestNodesMayDoNothing: no right is bound to their account, and their pods have no token that the API takes.
func TestNodesMayDoNothing(t *testing.T) {
	c := with(t, "nodeGroups: [{name: fast, nodeSelector: {disks: nvme}, config: {pools: [{name: a, lvm: {volumeGroup: vg0}}]}}]")
	var subjects []rbac.Subject
	for _, b := range all[*rbac.RoleBinding](c) {
		subjects = append(subjects, b.Subjects...)
	}
	for _, b := range all[*rbac.ClusterRoleBinding](c) {
		subjects = append(subjects, b.Subjects...)
	}
	same(t, "bindings", len(subjects), 2)
	for _, s := range subjects {
		same(t, "who has rights", s, rbac.Subject{Kind: "ServiceAccount", Name: "loam-controller", Namespace: namespace})
	}
	same(t, "token of the account", text(get[*core.ServiceAccount](c, "loam-node").AutomountServiceAccountToken), "false\n")
	pods := nodePods(c)
	same(t, "kinds of pods of nodes", len(pods), 2)
	for name, pod := range pods {
		same(t, "account of "+name, pod.ServiceAccountName, "loam-node")
		same(t, "token of "+name, text(pod.AutomountServiceAccountToken), "false\n")
		tokens := 0
		for _, v := range pod.Volumes {
			if v.Projected == nil {
				continue
			}
			for _, source := range v.Projected.Sources {
				if source.ServiceAccountToken == nil {
					t.Errorf("%s: volume %q has %+v", name, v.Name, source)
					continue
				}
				tokens++
				same(t, "audience of the token of "+name, source.ServiceAccountToken.Audience, "loam.storage")
			}
		}
		same(t, "tokens of "+name, tokens, 1)
	}
}

// TestControllerIsGivenEmpty: what the controller fills has no data here, so that applying it again takes none away.
func TestControllerIsGivenEmpty(t *testing.T) {
	c := with(t, "")
	secret, published := get[*core.Secret](c, "loam-controller-tls"), get[*core.ConfigMap](c, "loam-controller-ca")
	same(t, "data", len(secret.Data)+len(secret.StringData)+len(published.Data)+len(published.BinaryData), 0)
	c = with(t, "controller: {certificateSecret: mine, certificateConfigMap: ours}")
	same(t, "Secrets with a certificate of one's own", names[*core.Secret](c), "")
	same(t, "ConfigMaps with a certificate of one's own", names[*core.ConfigMap](c), "loam-config")
}

func TestNetworkPolicies(t *testing.T) {
	c := with(t, "")
	same(t, "NetworkPolicies", names[*networking.NetworkPolicy](c), "loam-controller loam-node")
	nodes := map[string]string{"app.kubernetes.io/name": "loam", "app.kubernetes.io/instance": "loam", "app.kubernetes.io/component": "node"}
	for _, p := range all[*networking.NetworkPolicy](c) {
		same(t, "types of "+p.Name, text(p.Spec.PolicyTypes), "- Ingress\n")
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				switch {
				case port.Port.IntVal == 9443 && p.Name == "loam-controller":
					same(t, "who may reach 9443", len(rule.From), 1)
					same(t, "who may reach 9443", text(rule.From[0].PodSelector.MatchLabels), text(nodes))
				case port.Port.IntVal == 9808 && p.Name == "loam-node" && port.EndPort == nil:
				case port.Port.IntVal == 9808 && p.Name == "loam-controller" && *port.EndPort == 9812:
				default:
					t.Errorf("%s lets port %v in", p.Name, port.Port)
				}
			}
		}
	}
	same(t, "NetworkPolicies when off", names[*networking.NetworkPolicy](with(t, "networkPolicy: {enabled: false}")), "")
}
