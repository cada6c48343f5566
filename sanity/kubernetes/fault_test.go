//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// writing is what a pod runs that must not be disturbed: numbers, each on the disk before the next, until one cannot be
// written.
const writing = "i=0; while true; do i=$((i+1)); echo $i >>/data/log || exit 1; sync /data/log || exit 1; done"

// startWriter starts such a pod on a node (any where it is empty).
func startWriter(w *world, node string) {
	w.Helper()
	w.apply(claim{name: "data"}.String() + pod{name: "writer", node: node, claims: []string{"data"}, command: writing}.String())
	w.ready("writer")
}

// undisturbed says whether the writer has gone on all the time, and does.
func undisturbed(w *world) {
	w.Helper()
	lines := func() string { return w.in("writer", "wc -l </data/log") }
	before := lines()
	w.until(30*time.Second, "the writer to go on", func() error {
		if lines() == before {
			return fmt.Errorf("it is at %s", before)
		}
		return nil
	})
	if got := w.get("pod/writer", "{.status.containerStatuses[0].restartCount}"); got != "0" {
		w.Errorf("the writer was started again %s times", got)
	}
	if got := w.in("writer", "awk '$1 != NR {print NR; exit}' /data/log"); got != "" {
		w.Errorf("line %s of what it wrote is wrong", got)
	}
}

// whole waits for all of loam to run.
func whole(w *world) {
	w.Helper()
	w.kubectlIn(system, "rollout", "status", "daemonset/loam-node", "--timeout=180s")
	w.kubectlIn(system, "rollout", "status", "statefulset/loam-controller", "--timeout=180s")
}

func nodePodRestarted(w *world) {
	startWriter(w, "node-1")
	of := w.kubectlIn(system, "get", "pods", "-l", "app.kubernetes.io/component=node", "--field-selector=spec.nodeName=node-1", "-o", "jsonpath={.items[0].metadata.name}")
	w.kubectlIn(system, "delete", "pod", of, "--grace-period=0", "--force")
	whole(w)
	undisturbed(w)
	// And the new one can take the volume away, and give another.
	w.delete("pod/writer")
	w.apply(pod{name: "reader", claims: []string{"data"}}.String())
	w.ready("reader")
	if got := w.in("reader", "awk '$1 != NR {print NR; exit}' /data/log"); got != "" {
		w.Errorf("line %s of what was written is wrong", got)
	}
}

func controllerKilled(w *world) {
	const claims = 50
	var manifest strings.Builder
	for i := range claims {
		manifest.WriteString(claim{name: fmt.Sprintf("c%d", i), class: "loam-immediate", size: "16Mi"}.String())
	}
	bound := func() int {
		return strings.Count(w.kubectl("get", "pvc", "-o", "jsonpath={.items[*].status.phase}"), "Bound")
	}
	leader := w.kubectlIn(system, "get", "lease", "loam-storage", "-o", "jsonpath={.spec.holderIdentity}")
	w.apply(manifest.String())
	w.until(60*time.Second, "the first to be bound", func() error {
		if bound() == 0 {
			return fmt.Errorf("none is")
		}
		return nil
	})
	at := bound()
	w.kubectlIn(system, "delete", "pod", leader, "--grace-period=0", "--force")
	w.until(180*time.Second, "all to be bound", func() error {
		if n := bound(); n != claims {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	on := onNodes(w)
	volumes := strings.Fields(w.kubectl("get", "pvc", "-o", "jsonpath={.items[*].spec.volumeName}"))
	once := 0
	for _, v := range volumes {
		if strings.Count(on, "/"+v) == 1 {
			once++
		}
	}
	fmt.Printf("count: controller killed when %d of %d claims were bound: %d bound in the end, %d volumes made once\n", at, claims, len(volumes), once)
	if once != claims {
		w.Errorf("%d of %d volumes are there once:\n%s", once, claims, on)
	}
	whole(w)
}

func kubeletRestarted(w *world) {
	startWriter(w, "node-1")
	w.machine("kubelet", "node-1", "kill")
	w.machine("kubelet", "node-1", "start")
	w.until(60*time.Second, "the kubelet to know the driver again", func() error {
		if drivers := w.kubectlIn("", "get", "csinode", "node-1", "-o", "jsonpath={.spec.drivers[*].name}"); !strings.Contains(drivers, "loam.storage") {
			return fmt.Errorf("it knows %q", drivers)
		}
		return nil
	})
	w.apply(claim{name: "more"}.String() + pod{name: "second", node: "node-1", claims: []string{"more"}}.String())
	w.ready("second")
	undisturbed(w)
}

func nodeCutOff(w *world) {
	w.apply(claim{name: "gone"}.String() + pod{name: "last", node: "node-2", claims: []string{"gone"}}.String())
	w.ready("last")
	handle, pv := w.handle("gone"), w.get("pvc/gone", "{.spec.volumeName}")
	w.delete("pod/last")
	startWriter(w, "node-2")
	began := w.in("writer", "wc -l </data/log")
	w.machine("cut", "node-2")
	healed := false
	heal := func() {
		if !healed {
			healed = true
			w.machine("heal", "node-2")
		}
	}
	w.Cleanup(heal)
	w.kubectl("delete", "pvc/gone", "--wait=true")
	w.until(90*time.Second, "somebody to say that the node is not connected", func() error {
		if events := w.kubectlIn("default", "get", "events", "--field-selector=involvedObject.name="+pv, "-o", "jsonpath={.items[*].message}"); !strings.Contains(events, `"node-2" is not connected`) {
			return fmt.Errorf("events of %s are %s", pv, events)
		}
		return nil
	})
	// The other node is none the worse.
	w.apply(claim{name: "other"}.String() + pod{name: "other", node: "node-1", claims: []string{"other"}}.String())
	w.ready("other")
	heal()
	w.until(120*time.Second, "the volume to be deleted", func() error {
		if strings.Contains(onNodes(w), handle) {
			return fmt.Errorf("%s is still there", handle)
		}
		return nil
	})
	w.until(60*time.Second, "the node", func() error {
		if w.in("writer", "wc -l </data/log") == began {
			return fmt.Errorf("the writer stands still")
		}
		return nil
	})
	undisturbed(w)
}

// helm upgrades the release with further values.
func helm(w *world, more ...string) {
	w.Helper()
	repository := os.Getenv("LOAM_TEST_REPOSITORY")
	args := append([]string{"upgrade", "loam", repository + "/deploy/helm/loam", "-n", system, "-f", repository + "/sanity/kubernetes/values.yaml"}, more...)
	if _, err := run(os.Getenv("LOAM_TEST_HELM"), args...); err != nil {
		w.Fatal(err)
	}
	whole(w)
}

func chartUpgraded(w *world) {
	startWriter(w, "node-1")
	w.apply(claim{name: "other"}.String() + pod{name: "other", node: "node-2", claims: []string{"other"}, command: strings.ReplaceAll(writing, "/data", "/other")}.String())
	w.ready("other")
	ages := func() []string {
		return strings.Fields(w.kubectlIn(system, "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"))
	}
	before := ages()
	helm(w, "--set", "node.maxUnavailable=1", "--set", "node.extraArgs={-v=1}", "--set", "controller.extraArgs={-v=1}")
	for _, uid := range ages() {
		if slices.Contains(before, uid) {
			w.Errorf("a pod is still the one of before")
		}
	}
	undisturbed(w)
	if got := w.get("pod/other", "{.status.containerStatuses[0].restartCount}"); got != "0" {
		w.Error("the other writer was disturbed")
	}
	helm(w)
}

func powerLost(w *world) {
	startWriter(w, "node-2")
	w.until(30*time.Second, "something to be written", func() error {
		if w.in("writer", "wc -l </data/log") == "0" {
			return fmt.Errorf("nothing is")
		}
		return nil
	})
	before := w.in("writer", "tail -1 /data/log")
	w.machine("power-off", "node-2")
	w.machine("power-on", "node-2")
	whole(w)
	w.until(120*time.Second, "the pod to write again", func() error {
		out, err := run("kubectl", "-n", w.namespace, "exec", "writer", "--", "sh", "-c", "grep -c '^1$' /data/log")
		if err == nil && out != "2" {
			err = fmt.Errorf("it has begun %s times", out)
		}
		return err
	})
	if w.in("writer", "grep -cx "+before+" /data/log || true") == "0" {
		w.Errorf("number %s was on the disk, and is not", before)
	}
}

func nodeDeleted(w *world) {
	w.apply(claim{name: "data"}.String() + pod{name: "writer", node: "node-2", claims: []string{"data"}, command: "echo kept >/data/f && sync && sleep 1000000"}.String())
	w.ready("writer")
	handle, pv := w.handle("data"), w.get("pvc/data", "{.spec.volumeName}")
	w.delete("pod/writer")
	w.machine("power-off", "node-2")
	w.kubectlIn("", "delete", "node", "node-2")
	w.kubectl("delete", "pvc/data", "--wait=true")
	w.until(120*time.Second, "the PersistentVolume to go", func() error {
		if out, err := run("kubectl", "get", "pv", pv); err == nil {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if events := w.kubectlIn(system, "get", "events", "-o", "jsonpath={.items[*].message}"); !strings.Contains(events, handle) {
		w.Errorf("there is no event about %s: %s", handle, events)
	}
	w.machine("power-on", "node-2")
	whole(w)
	orphans := func() string {
		return w.kubectlIn(system, "exec", "loam-controller-0", "-c", "loam", "--", "/usr/bin/loam", "orphans")
	}
	w.until(60*time.Second, "the orphan to be shown", func() error {
		if said := orphans(); !strings.Contains(said, handle) {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
	// An administrator looks into it, and then lets it go as any other.
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: orphan}
spec:
  capacity: {storage: 64Mi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Delete
  storageClassName: loam
  claimRef: {namespace: %s, name: again}
  csi: {driver: loam.storage, volumeHandle: %q, fsType: ext4}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: loam.storage/node, operator: In, values: [node-2]}]}]}}
`, w.namespace, handle) + claim{name: "again", more: "  volumeName: orphan"}.String() + pod{name: "reader", claims: []string{"again"}}.String())
	w.kubectlIn("", "annotate", "pv", "orphan", "pv.kubernetes.io/provisioned-by=loam.storage", "--overwrite")
	w.ready("reader")
	if got := w.in("reader", "cat /again/f"); got != "kept" {
		w.Errorf("it reads %q", got)
	}
	w.delete("pod/reader")
	w.delete("pvc/again")
	w.until(60*time.Second, "no orphan to be left", func() error {
		if said := orphans(); strings.Contains(said, handle) {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
}
