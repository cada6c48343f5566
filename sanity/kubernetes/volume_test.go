//go:build kubernetes

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func rawBlock(w *world) {
	raw := pod{name: "raw", blocks: []string{"disk"}, command: "[ -b /disk ] && sleep 1000000"}
	w.apply(claim{name: "disk", block: true, size: "32Mi"}.String() + raw.String())
	w.ready("raw")
	wrote := w.in("raw", "dd if=/dev/urandom of=/disk bs=1M count=32 2>/dev/null && sync && md5sum </disk")
	w.delete("pod/raw")
	w.apply(raw.String())
	w.ready("raw")
	if got := w.in("raw", "md5sum </disk"); got != wrote {
		w.Errorf("it wrote %s and reads %s", wrote, got)
	}
}

func ephemeral(w *world) {
	w.apply(pod{name: "scratch", volumes: `
    - name: generic
      ephemeral: {volumeClaimTemplate: {spec: {storageClassName: loam, accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}}}
    - name: inline
      csi: {driver: loam.storage, volumeAttributes: {size: 48Mi}}
`, container: "", command: "sleep 1000000"}.withMounts("generic", "inline"))
	w.ready("scratch")
	w.in("scratch", "echo a >/generic/f && echo b >/inline/f && sync")
	if rows := strings.Count(onNodes(w), "h-"); rows == 0 {
		w.Error("no node shows the inline volume")
	}
	generic := w.handle("scratch-generic")
	w.delete("pod/scratch")
	w.until(60*time.Second, "both to be gone", func() error {
		if on := onNodes(w); strings.Contains(on, generic) || strings.Contains(on, "48MiB") {
			return fmt.Errorf("still there: %s", on)
		}
		return nil
	})
}

// withMounts returns the manifest with further volumes mounted, each at /<name>.
func (p pod) withMounts(names ...string) string {
	var mounts strings.Builder
	for _, n := range names {
		fmt.Fprintf(&mounts, "        - {name: %s, mountPath: /%s}\n", n, n)
	}
	return strings.Replace(p.String(), "        - {name: none, mountPath: /none}\n", "        - {name: none, mountPath: /none}\n"+mounts.String(), 1)
}

func xfsGrows(w *world) { grows(w, "loam-xfs", "320Mi", "480Mi") }

func ext4Grows(w *world) {
	if !growsExt4() {
		w.Skip("this machine's root has no CAP_SYS_RESOURCE, without which the kernel does not grow a mounted ext4 (resize2fs: Permission denied to resize filesystem)")
	}
	grows(w, "loam", "64Mi", "128Mi")
}

// growsExt4 reports whether the kernel lets processes here grow a mounted ext4 (CAP_SYS_RESOURCE).
func growsExt4() bool {
	const sysResource = 24
	said, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(said), "CapBnd:")
	set, err := strconv.ParseUint(strings.Fields(after + " 0")[0], 16, 64)
	return err == nil && set&(1<<sysResource) != 0
}

func grows(w *world, class, from, to string) {
	w.apply(claim{name: "data", class: class, size: from}.String() +
		pod{name: "writer", claims: []string{"data"}, command: "i=0; while true; do i=$((i+1)); echo $i >>/data/log || exit 1; sync; done"}.String())
	w.ready("writer")
	blocks := func() string { return w.in("writer", "df -k /data | tail -1 | awk '{print $2}'") }
	before := blocks()
	w.kubectl("patch", "pvc/data", "-p", `{"spec":{"resources":{"requests":{"storage":"`+to+`"}}}}`)
	w.says("pvc/data", "{.status.capacity.storage}", to)
	if after := blocks(); after <= before && len(after) <= len(before) {
		w.Errorf("it had %s KiB and has %s", before, after)
	}
	if w.get("pod/writer", "{.status.containerStatuses[0].restartCount}") != "0" {
		w.Error("the writer was disturbed")
	}
	if got := w.in("writer", "awk '$1 != NR {print NR; exit}' /data/log"); got != "" {
		w.Errorf("line %s of the log is wrong", got)
	}
}

func fsGroupOwnsTheFiles(w *world) {
	w.apply(claim{name: "data"}.String() + pod{name: "writer", claims: []string{"data"}, spec: "  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 4242}\n",
		command: "touch /data/f && sleep 1000000"}.String())
	w.ready("writer")
	if got := w.in("writer", "stat -c %g /data/f"); got != "4242" {
		w.Errorf("the file is of group %s", got)
	}
}

func mountOptions(w *world) {
	w.apply(claim{name: "data", class: "loam-noatime"}.String() + pod{name: "writer", claims: []string{"data"}}.String())
	w.ready("writer")
	if got := w.in("writer", "grep ' /data ' /proc/mounts"); !strings.Contains(got, "noatime") {
		w.Errorf("it is mounted as %s", got)
	}
}

func metricsReachTheKubelet(w *world) {
	w.apply(claim{name: "data"}.String() + pod{name: "writer", claims: []string{"data"}, command: "dd if=/dev/zero of=/data/f bs=1M count=20 && sync && sleep 1000000"}.String())
	w.ready("writer")
	node := w.get("pod/writer", "{.spec.nodeName}")
	w.until(150*time.Second, "the kubelet to have looked", func() error { // it looks every 60 to 120 s
		var summary struct {
			Pods []struct {
				PodRef  struct{ Name, Namespace string }
				Volumes []struct {
					Name                                         string `json:"name"`
					UsedBytes, CapacityBytes, Inodes, InodesUsed int64
				} `json:"volume"`
			}
		}
		if err := json.Unmarshal([]byte(w.kubectlIn("", "get", "--raw", "/api/v1/nodes/"+node+"/proxy/stats/summary")), &summary); err != nil {
			return err
		}
		for _, p := range summary.Pods {
			for _, v := range p.Volumes {
				if p.PodRef.Namespace == w.namespace && v.Name == "data" && v.UsedBytes >= 20<<20 && v.CapacityBytes > v.UsedBytes && v.Inodes > v.InodesUsed {
					return nil
				}
			}
		}
		return fmt.Errorf("it knows no such volume")
	})
}
