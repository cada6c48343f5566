//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"strings"
	"time"
)

// attachment turns attaching on, which is a property of the driver that cannot be changed, only set anew.
func attachment(w *world) {
	w.kubectlIn("", "delete", "csidriver", "loam.storage")
	helm(w, "--set", "attach.enabled=true")
	startWriter(w, "")
	pv := w.get("pvc/data", "{.spec.volumeName}")
	of := func() string {
		return w.kubectlIn("", "get", "volumeattachments", "-o", `jsonpath={range .items[?(@.spec.source.persistentVolumeName=="`+pv+`")]}{.spec.nodeName} {.status.attached}{end}`)
	}
	if got, node := of(), w.get("pod/writer", "{.spec.nodeName}"); got != node+" true" {
		w.Errorf("it is attached to %q, and the pod is on %s", got, node)
	}
	undisturbed(w)
	w.delete("pod/writer")
	w.until(60*time.Second, "the attachment to go", func() error {
		if got := of(); got != "" {
			return fmt.Errorf("it is still %s", got)
		}
		return nil
	})
}

func nothingLeft(w *world) {
	for _, kind := range []string{"pv", "volumeattachments", "volumesnapshotcontents", "volumegroupsnapshotcontents"} {
		w.until(60*time.Second, "no "+kind, func() error {
			if left := w.kubectlIn("", "get", kind, "-o", "name"); left != "" {
				return fmt.Errorf("left: %s", left)
			}
			return nil
		})
	}
	for line := range strings.Lines(onNodes(w)) {
		if !strings.HasPrefix(line, "HANDLE") {
			w.Errorf("left on the disk: %s", line)
		}
	}
	for _, node := range []string{"node-1", "node-2"} {
		mounts := w.machine("on", node, "sh", "-c", "grep -c '/kubernetes.io/csi/loam.storage/\\|kubernetes.io~csi' /proc/mounts || true")
		if strings.TrimSpace(mounts) != "0" {
			w.Errorf("%s mounts of volumes are left on %s", mounts, node)
		}
		// Each node's pool is a file system in one loop device, and volumes are files in that.
		if devices := w.machine("on", node, "sh", "-c", "losetup -l -n -O BACK-FILE | grep -c '/volumes/' || true"); strings.TrimSpace(devices) != "0" {
			w.Errorf("%s loop devices of volumes are left: %s", devices, w.machine("on", node, "losetup", "-l"))
		}
	}
}
