//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func plusOne(number string) string {
	n, err := strconv.Atoi(number)
	if err != nil {
		return number + " is no number"
	}
	return strconv.Itoa(n + 1)
}

func statefulSetSpreads(w *world) {
	manifest, err := os.ReadFile(filepath.Join(examplesDir(), "statefulset.yaml"))
	if err != nil {
		w.Fatal(err)
	}
	w.apply(string(manifest))
	w.kubectl("rollout", "status", "statefulset/db", "--timeout=120s")
	nodes := strings.Fields(w.kubectl("get", "pods", "-l", "app=db", "-o", "jsonpath={.items[*].spec.nodeName}"))
	slices.Sort(nodes)
	if len(nodes) != 3 || len(slices.Compact(nodes)) != 2 {
		w.Errorf("its pods are on %q", nodes)
	}
	for i := range 3 {
		name := fmt.Sprintf("db-%d", i)
		if got := w.in(name, "cat /var/lib/db/name"); got != name {
			w.Errorf("%s has the volume of %s", name, got)
		}
	}
}

// What the scheduler knows of free space, it knows from CSIStorageCapacity objects.
func capacitySteers(w *world) {
	w.apply(claim{name: "filler", size: "6Gi"}.String() + pod{name: "filler", node: "node-1", claims: []string{"filler"}}.String())
	w.ready("filler")
	w.until(150*time.Second, "what is known of node-1 to shrink", func() error { // looked at once a minute
		for line := range strings.Lines(w.kubectlIn(system, "get", "csistoragecapacities", "-o",
			`jsonpath={range .items[?(@.storageClassName=="loam")]}{.nodeTopology.matchLabels.loam\.storage/node} {.maximumVolumeSize}{"\n"}{end}`)) {
			if strings.HasPrefix(line, "node-1 ") && !strings.Contains(line, "Gi") {
				return nil
			}
		}
		return fmt.Errorf("it is still said to have room")
	})
	for i := range 3 {
		name := fmt.Sprintf("p%d", i)
		w.apply(claim{name: name, size: "2Gi"}.String() + pod{name: name, claims: []string{name}}.String())
		w.ready(name)
		if node := w.get("pod/"+name, "{.spec.nodeName}"); node != "node-2" {
			w.Errorf("%s came to %s", name, node)
		}
	}
}

func examplesDir() string {
	return filepath.Join(os.Getenv("LOAM_TEST_REPOSITORY"), "deploy", "examples")
}

// examples applies each as the documentation has it, and looks whether it does what it says.
func examples(w *world) {
	apply := func(name string) {
		w.Helper()
		manifest, err := os.ReadFile(filepath.Join(examplesDir(), name))
		if err != nil {
			w.Fatal(err)
		}
		text := string(manifest)
		if !growsExt4() { // which a larger copy and a larger claim need
			text = strings.ReplaceAll(text, "storageClassName: loam\n", "storageClassName: loam-xfs\n")
			text = strings.NewReplacer("256Mi", "320Mi").Replace(text)
		}
		w.apply(text)
	}
	apply("pod.yaml")
	w.ready("writer")
	apply("snapshot.yaml")
	apply("clone.yaml")
	apply("block.yaml")
	apply("ephemeral.yaml")
	apply("group-snapshot.yaml")
	w.ready("reader-of-snapshot", "reader-of-copy", "raw", "scratch", "shop")
	w.says("volumegroupsnapshot/shop", "{.status.readyToUse}", "true")
	apply("expand.yaml")
	w.says("pvc/data", "{.status.capacity.storage}", "1536Mi")
	w.kubectl("delete", "volumegroupsnapshot", "--all")
	w.kubectl("delete", "volumesnapshot", "--all")
}
