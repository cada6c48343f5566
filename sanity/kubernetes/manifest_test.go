//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"strings"
)

// claim is a PersistentVolumeClaim; what is left out is the usual.
type claim struct {
	name, class, size, mode string
	block                   bool
	more                    string // lines of the spec, as YAML
}

func (c claim) String() string {
	volumeMode := "Filesystem"
	if c.block {
		volumeMode = "Block"
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s, labels: {of: test}}
spec:
  storageClassName: %s
  accessModes: [%s]
  volumeMode: %s
  resources: {requests: {storage: %s}}
%s
`, c.name, or(c.class, "loam"), or(c.mode, "ReadWriteOnce"), volumeMode, or(c.size, "64Mi"), c.more)
}

// pod is a Pod of one container, with each claim at /<claim>, as a directory or as a device.
type pod struct {
	name, node, command string
	claims, blocks      []string
	spec, container     string // lines of the spec and of the container, as YAML
	volumes             string // further entries of volumes, as YAML
}

func (p pod) String() string {
	var mounts, devices, volumes strings.Builder
	for _, c := range p.claims {
		fmt.Fprintf(&mounts, "        - {name: %s, mountPath: /%s}\n", c, c)
		fmt.Fprintf(&volumes, "    - {name: %s, persistentVolumeClaim: {claimName: %s}}\n", c, c)
	}
	for _, c := range p.blocks {
		fmt.Fprintf(&devices, "        - {name: %s, devicePath: /%s}\n", c, c)
		fmt.Fprintf(&volumes, "    - {name: %s, persistentVolumeClaim: {claimName: %s}}\n", c, c)
	}
	selector := ""
	if p.node != "" {
		selector = "  nodeSelector: {kubernetes.io/hostname: " + p.node + "}\n"
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {of: test}}
spec:
  terminationGracePeriodSeconds: 1
%s%s
  containers:
    - name: it
      image: %s
      imagePullPolicy: Never
      command: [sh, -c, %q]
%s
      volumeMounts:
        - {name: none, mountPath: /none}
%s
      volumeDevices:
%s
  volumes:
    - {name: none, emptyDir: {}}
%s%s
`, p.name, selector, p.spec, busybox, or(p.command, "sleep 1000000"), p.container, mounts.String(), devices.String(), volumes.String(), p.volumes)
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// snapshot is a VolumeSnapshot of a claim.
func snapshot(name, claim string) string {
	return fmt.Sprintf("---\napiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshot\nmetadata: {name: %s}\nspec: {volumeSnapshotClassName: loam, source: {persistentVolumeClaimName: %s}}\n", name, claim)
}
