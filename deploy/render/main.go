// Command render writes deploy/kubernetes/loam.yaml, which is the chart with its default values for those who do
// not use Helm. "make manifests" runs it in this directory.
package main

import (
	"bytes"
	"fmt"
	"os"
)

const (
	chartDirectory = "../helm/loam"
	manifestFile   = "../kubernetes/loam.yaml"
)

// snapshotAPIs are what a cluster has that can take snapshots; the chart makes classes for them.
var snapshotAPIs = []string{"snapshot.storage.k8s.io/v1/VolumeSnapshotClass", "groupsnapshot.storage.k8s.io/v1/VolumeGroupSnapshotClass"}

// header begins the file. Helm is told the namespace, and kubectl has to be given one.
const header = `# loam in Kubernetes, without Helm:
#
#   kubectl apply -f loam.yaml
#
# The classes for snapshots at the end need the CRDs of github.com/kubernetes-csi/external-snapshotter. Without them
# kubectl says so, and the rest works. docs/kubernetes.md has more.
#
# This is deploy/helm/loam with its default values. Change that, and run "make manifests".
apiVersion: v1
kind: Namespace
metadata:
  name: loam-system
  labels:
    pod-security.kubernetes.io/enforce: privileged # pods of nodes make devices and mounts
`

func main() {
	text, err := defaultManifests()
	if err == nil {
		err = os.WriteFile(manifestFile, text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

// defaultManifests returns what the file is to have.
func defaultManifests() ([]byte, error) {
	all, err := render(nil, snapshotAPIs...)
	if err != nil {
		return nil, err
	}
	text := bytes.NewBufferString(header)
	for _, m := range all {
		fmt.Fprintf(text, "---\n%s\n", m)
	}
	return text.Bytes(), nil
}
