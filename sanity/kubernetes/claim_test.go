//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"strings"
	"time"
)

func claimWaitsForItsPod(w *world) {
	w.apply(claim{name: "data"}.String())
	w.until(30*time.Second, "the event that it waits", func() error {
		if events := w.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}"); !strings.Contains(events, "WaitForFirstConsumer") {
			return fmt.Errorf("events are %s", events)
		}
		return nil
	})
	if phase := w.get("pvc/data", "{.status.phase}"); phase != "Pending" {
		w.Errorf("without a pod it is %s", phase)
	}
	w.apply(pod{name: "writer", claims: []string{"data"}, command: "echo hello >/data/f && sync && sleep 1000000"}.String())
	w.ready("writer")
	w.says("pvc/data", "{.status.phase}", "Bound")
	if node, handle := w.get("pod/writer", "{.spec.nodeName}"), w.handle("data"); !strings.HasPrefix(handle, node+"/default/pvc-") {
		w.Errorf("the pod is on %s and the volume is %s", node, handle)
	}
	if got := w.in("writer", "cat /data/f"); got != "hello" {
		w.Errorf("it reads %q", got)
	}
}

func claimBindsAtOnce(w *world) {
	w.apply(claim{name: "data", class: "loam-immediate"}.String())
	w.says("pvc/data", "{.status.phase}", "Bound")
	w.apply(pod{name: "reader", claims: []string{"data"}, command: "touch /data/f && sleep 1000000"}.String())
	w.ready("reader")
	if node, handle := w.get("pod/reader", "{.spec.nodeName}"), w.handle("data"); !strings.HasPrefix(handle, node+"/") {
		w.Errorf("the pod is on %s and the volume is %s", node, handle)
	}
}

func claimTakesVolumeMadeBeforehand(w *world) {
	w.apply(claim{name: "first", class: "loam-retain"}.String() + pod{name: "writer", claims: []string{"first"}, command: "echo kept >/first/f && sync && sleep 1000000"}.String())
	w.ready("writer")
	handle := w.handle("first")
	node, _, _ := strings.Cut(handle, "/")
	old := w.get("pvc/first", "{.spec.volumeName}")
	w.delete("pod/writer")
	w.delete("pvc/first")
	w.kubectlIn("", "delete", "pv", old)
	// The volume is known to no PersistentVolume now. An administrator makes one for it.
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: %s-made}
spec:
  capacity: {storage: 64Mi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Delete
  storageClassName: loam-retain
  claimRef: {namespace: %s, name: second}
  csi: {driver: loam.storage, volumeHandle: %q, fsType: ext4}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: loam.storage/node, operator: In, values: [%s]}]}]}}
`, w.namespace, w.namespace, handle, node) + claim{name: "second", class: "loam-retain", more: "  volumeName: " + w.namespace + "-made"}.String() +
		pod{name: "reader", claims: []string{"second"}}.String())
	w.ready("reader")
	if got := w.in("reader", "cat /second/f"); got != "kept" {
		w.Errorf("it reads %q", got)
	}
}

func podComesBack(w *world) {
	writer := pod{name: "writer", claims: []string{"data"}, command: "date +%s%N >>/data/f && sync && sleep 1000000"}.String()
	w.apply(claim{name: "data"}.String() + writer)
	w.ready("writer")
	node, before := w.get("pod/writer", "{.spec.nodeName}"), w.in("writer", "cat /data/f")
	w.delete("pod/writer")
	w.apply(writer)
	w.ready("writer")
	if now := w.get("pod/writer", "{.spec.nodeName}"); now != node {
		w.Errorf("it was on %s and is on %s", node, now)
	}
	if after := w.in("writer", "cat /data/f"); !strings.HasPrefix(after, before+"\n") {
		w.Errorf("there was %q, and now is %q", before, after)
	}
}

func retainKeeps(w *world) {
	w.apply(claim{name: "data", class: "loam-retain"}.String() + pod{name: "writer", claims: []string{"data"}, command: "touch /data/f && sleep 1000000"}.String())
	w.ready("writer")
	pv, handle := w.get("pvc/data", "{.spec.volumeName}"), w.handle("data")
	w.delete("pod/writer")
	w.delete("pvc/data")
	w.until(30*time.Second, "the volume to be released", func() error {
		if phase := w.kubectlIn("", "get", "pv", pv, "-o", "jsonpath={.status.phase}"); phase != "Released" {
			return fmt.Errorf("it is %s", phase)
		}
		return nil
	})
	if !strings.Contains(onNodes(w), handle) {
		w.Errorf("%s is gone from the disk", handle)
	}
	// What nobody asked to keep any more goes.
	w.kubectlIn("", "patch", "pv", pv, "-p", `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`)
	w.until(60*time.Second, "the volume to be deleted", func() error {
		if strings.Contains(onNodes(w), handle) {
			return fmt.Errorf("%s is still there", handle)
		}
		return nil
	})
}

// onNodes is what "loam volumes" prints on all nodes.
func onNodes(w *world) string {
	w.Helper()
	var all []string
	for _, name := range strings.Fields(w.kubectlIn(system, "get", "pods", "-l", "app.kubernetes.io/component=node", "-o", "jsonpath={.items[*].metadata.name}")) {
		all = append(all, w.kubectlIn(system, "exec", name, "--", "/usr/bin/loam", "volumes", "--config", "/etc/loam/config.yaml"))
	}
	return strings.Join(all, "\n")
}

func oncePodIsRefusedTwice(w *world) {
	w.apply(claim{name: "data", mode: "ReadWriteOncePod"}.String() + pod{name: "first", claims: []string{"data"}}.String())
	w.ready("first")
	node := w.get("pod/first", "{.spec.nodeName}")
	// The scheduler refuses the second pod; one that was not scheduled is refused by the kubelet.
	w.apply(pod{name: "second", claims: []string{"data"}}.String() + strings.Replace(pod{name: "third", claims: []string{"data"}}.String(), "spec:\n", "spec:\n  nodeName: "+node+"\n", 1))
	w.until(60*time.Second, "both to be refused", func() error {
		events := w.kubectl("get", "events", "-o", `jsonpath={range .items[*]}{.involvedObject.name} {.message}{"\n"}{end}`)
		for _, refused := range []string{"second", "third"} {
			if !strings.Contains(events, refused+" ") || !strings.Contains(strings.ToLower(events), "readwriteoncepod") {
				return fmt.Errorf("events are %s", events)
			}
		}
		return nil
	})
	for _, refused := range []string{"second", "third"} {
		if phase := w.get("pod/"+refused, "{.status.phase}"); phase == "Running" {
			w.Errorf("%s runs", refused)
		}
	}
	w.delete("pod/third")
	w.delete("pod/first")
	w.ready("second")
}

func taintedNodeKeepsItsVolumes(w *world) {
	w.apply(claim{name: "data"}.String() + pod{name: "writer", node: "node-1", claims: []string{"data"}, command: "echo kept >/data/f && sync && sleep 1000000",
		spec: "  tolerations: [{key: test, operator: Exists}]\n"}.String())
	w.ready("writer")
	w.kubectlIn("", "taint", "node", "node-1", "test=yes:NoSchedule", "--overwrite")
	w.Cleanup(func() { w.kubectlIn("", "taint", "node", "node-1", "test-", "--overwrite") })
	w.delete("pod/writer")
	w.apply(pod{name: "stranger", claims: []string{"data"}}.String())
	w.until(60*time.Second, "the pod without a toleration to wait", func() error {
		if events := w.kubectl("get", "events", "--field-selector=involvedObject.name=stranger", "-o", "jsonpath={.items[*].message}"); !strings.Contains(events, "taint") {
			return fmt.Errorf("events are %s", events)
		}
		return nil
	})
	w.apply(pod{name: "friend", claims: []string{"data"}, spec: "  tolerations: [{key: test, operator: Exists}]\n"}.String())
	w.ready("friend")
	if got := w.in("friend", "cat /data/f"); got != "kept" {
		w.Errorf("it reads %q", got)
	}
}

func tooLarge(w *world) {
	w.apply(claim{name: "data", class: "loam-immediate", size: "900Gi"}.String())
	w.until(60*time.Second, "the reason", func() error {
		if events := w.kubectl("get", "events", "-o", "jsonpath={.items[*].message}"); !strings.Contains(events, "900GiB") {
			return fmt.Errorf("events are %s", events)
		}
		return nil
	})
}

func unknownParameter(w *world) {
	class := w.namespace
	w.apply("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: " + class + "}\nprovisioner: loam.storage\nvolumeBindingMode: Immediate\nparameters: {flavour: vanilla}\n" + claim{name: "data", class: class}.String())
	w.Cleanup(func() { w.kubectlIn("", "delete", "storageclass", class) })
	w.until(60*time.Second, "the reason", func() error {
		if events := w.kubectl("get", "events", "-o", "jsonpath={.items[*].message}"); !strings.Contains(events, `"flavour"`) {
			return fmt.Errorf("events are %s", events)
		}
		return nil
	})
}
