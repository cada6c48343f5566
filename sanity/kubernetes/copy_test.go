//go:build kubernetes

package kubernetes_test

import (
	"strings"
)

func snapshotIsRestored(w *world) {
	// A restored file system grows when it is mounted, which not every machine lets ext4 do.
	class, size, larger := "loam", "64Mi", "96Mi"
	if !growsExt4() {
		class, size, larger = "loam-xfs", "320Mi", "400Mi"
	}
	w.apply(claim{name: "data", class: class, size: size}.String() + pod{name: "writer", claims: []string{"data"}, command: "echo before >/data/f && sync && sleep 1000000"}.String())
	w.ready("writer")
	w.apply(snapshot("s", "data"))
	w.says("volumesnapshot/s", "{.status.readyToUse}", "true")
	w.in("writer", "echo after >/data/f && sync")
	w.apply(claim{name: "restored", class: class, size: larger, more: "  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: s}"}.String() +
		pod{name: "reader", claims: []string{"restored"}}.String())
	w.ready("reader")
	if got := w.in("reader", "cat /restored/f"); got != "before" {
		w.Errorf("it reads %q", got)
	}
	if got := w.get("pvc/restored", "{.status.capacity.storage}"); got != larger {
		w.Errorf("it has %s", got)
	}
	if w.get("pod/reader", "{.spec.nodeName}") != w.get("pod/writer", "{.spec.nodeName}") {
		w.Error("it is not on the node of the snapshot")
	}
	w.delete("volumesnapshot/s")
	if got := w.in("reader", "cat /restored/f"); got != "before" {
		w.Errorf("without the snapshot it reads %q", got)
	}
}

func clone(w *world) {
	w.apply(claim{name: "data", class: "loam-xfs", size: "320Mi"}.String() + pod{name: "writer", claims: []string{"data"}, command: "echo here >/data/f && sync && sleep 1000000"}.String())
	w.ready("writer")
	w.apply(claim{name: "copy", class: "loam-xfs", size: "320Mi", more: "  dataSource: {kind: PersistentVolumeClaim, name: data}"}.String() +
		pod{name: "reader", claims: []string{"copy"}}.String())
	w.ready("reader")
	if got := w.in("reader", "cat /copy/f && echo more >>/copy/f"); got != "here" {
		w.Errorf("it reads %q", got)
	}
	if got := w.in("writer", "cat /data/f"); got != "here" {
		w.Errorf("the source has become %q", got)
	}
}

// Each number is written to one volume and then to the other. At one instant the first is ahead by one at most.
func groupSnapshot(w *world) {
	w.apply(claim{name: "a"}.String() + claim{name: "b"}.String() + pod{name: "writer", claims: []string{"a", "b"},
		command: "i=0; while true; do i=$((i+1)); echo $i >/a/n; sync /a/n; echo $i >/b/n; sync /b/n; done"}.String())
	w.ready("writer")
	w.apply("apiVersion: groupsnapshot.storage.k8s.io/v1\nkind: VolumeGroupSnapshot\nmetadata: {name: both}\nspec: {volumeGroupSnapshotClassName: loam, source: {selector: {matchLabels: {of: test}}}}\n")
	w.says("volumegroupsnapshot/both", "{.status.readyToUse}", "true")
	var names []string
	for line := range strings.Lines(w.kubectl("get", "volumesnapshots", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.source.persistentVolumeClaimName}{.status.boundVolumeSnapshotContentName}{"\n"}{end}`)) {
		names = append(names, strings.Fields(line)[0])
	}
	if len(names) != 2 {
		w.Fatalf("the group has the snapshots %q", names)
	}
	var reader pod
	reader.name = "reader"
	manifest := ""
	for _, name := range names {
		c := "of-" + name[len(name)-8:]
		manifest += claim{name: c, more: "  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: " + name + "}"}.String()
		reader.claims = append(reader.claims, c)
	}
	w.apply(manifest + reader.String())
	w.ready("reader")
	numbers := strings.Fields(w.in("reader", "cat /"+reader.claims[0]+"/n /"+reader.claims[1]+"/n"))
	if len(numbers) != 2 || !near(numbers[0], numbers[1]) {
		w.Errorf("the two snapshots have %q", numbers)
	}
	w.delete("volumegroupsnapshot/both")
}

func near(a, b string) bool {
	return a == b || plusOne(a) == b || plusOne(b) == a
}
