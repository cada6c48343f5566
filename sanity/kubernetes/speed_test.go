//go:build kubernetes

package kubernetes_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// took is how long things took since each was asked for.
type took struct{ bound, running []time.Duration }

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))].Round(time.Millisecond)
}

// start starts n pods at once, each with a claim of that class (emptyDir where it is empty), and returns how long it
// was until the API said that claims were bound and pods ran.
func start(w *world, prefix string, n int, class string) took {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 3*time.Minute)
	defer cancel()
	pods, err := w.api.CoreV1().Pods(w.namespace).Watch(ctx, meta.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	defer pods.Stop()
	claims, err := w.api.CoreV1().PersistentVolumeClaims(w.namespace).Watch(ctx, meta.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	defer claims.Stop()
	var mu sync.Mutex
	began := map[string]time.Time{}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			name := fmt.Sprintf("%s-%d", prefix, i)
			source := core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{}}
			mu.Lock()
			began[name] = time.Now()
			mu.Unlock()
			if class != "" {
				source = core.VolumeSource{PersistentVolumeClaim: &core.PersistentVolumeClaimVolumeSource{ClaimName: name}}
				c := &core.PersistentVolumeClaim{ObjectMeta: meta.ObjectMeta{Name: name}, Spec: core.PersistentVolumeClaimSpec{
					StorageClassName: &class, AccessModes: []core.PersistentVolumeAccessMode{core.ReadWriteOnce},
					Resources: core.VolumeResourceRequirements{Requests: core.ResourceList{core.ResourceStorage: resource.MustParse("32Mi")}}}}
				if _, err := w.api.CoreV1().PersistentVolumeClaims(w.namespace).Create(ctx, c, meta.CreateOptions{}); err != nil {
					w.Error(err)
				}
			}
			grace := int64(0)
			p := &core.Pod{ObjectMeta: meta.ObjectMeta{Name: name}, Spec: core.PodSpec{TerminationGracePeriodSeconds: &grace,
				Containers: []core.Container{{Name: "it", Image: busybox, ImagePullPolicy: core.PullNever, Command: []string{"sleep", "1000000"},
					VolumeMounts: []core.VolumeMount{{Name: "data", MountPath: "/data"}}}},
				Volumes: []core.Volume{{Name: "data", VolumeSource: source}}}}
			if _, err := w.api.CoreV1().Pods(w.namespace).Create(ctx, p, meta.CreateOptions{}); err != nil {
				w.Error(err)
			}
		})
	}
	var t took
	bound, running := map[string]bool{}, map[string]bool{}
	for len(running) < n || (class != "" && len(bound) < n) {
		var event watch.Event
		select {
		case event = <-pods.ResultChan():
		case event = <-claims.ResultChan():
		case <-ctx.Done():
			w.Fatalf("%s: after 3 minutes %d are bound and %d run", prefix, len(bound), len(running))
		}
		now := time.Now()
		mu.Lock()
		switch o := event.Object.(type) {
		case *core.Pod:
			if since, ours := began[o.Name]; ours && o.Status.Phase == core.PodRunning && !running[o.Name] {
				running[o.Name] = true
				t.running = append(t.running, now.Sub(since))
			}
		case *core.PersistentVolumeClaim:
			if since, ours := began[o.Name]; ours && o.Status.Phase == core.ClaimBound && !bound[o.Name] {
				bound[o.Name] = true
				t.bound = append(t.bound, now.Sub(since))
			}
		}
		mu.Unlock()
	}
	all.Wait()
	w.kubectl("delete", "pods", "--all", "--wait=true")
	w.kubectl("delete", "pvc", "--all", "--wait=true")
	return t
}

// row prints a line of the table. A figure that is not met is said, and fails nothing: these machines are shared.
func row(what string, t took, bounds string, met bool) {
	verdict := "met"
	if !met {
		verdict = "NOT met"
	}
	if bounds == "" {
		bounds, verdict = "-", ""
	}
	fmt.Printf("count: %-44s bound p50 %6s p99 %6s   Running p50 %6s max %6s   %s %s\n", what,
		quantile(t.bound, .5), quantile(t.bound, .99), quantile(t.running, .5), quantile(t.running, 1), bounds, verdict)
}

func howLong(w *world) {
	start(w, "warm", 1, "loam")
	var empty, waiting, immediate took
	for i := range 5 {
		add := func(to *took, name, class string) {
			t := start(w, fmt.Sprintf("%s%d", name, i), 1, class)
			to.bound, to.running = append(to.bound, t.bound...), append(to.running, t.running...)
		}
		add(&empty, "e", "")
		add(&waiting, "w", "loam")
		add(&immediate, "i", "loam-immediate")
	}
	base := quantile(empty.running, .5)
	row("one pod, emptyDir", empty, "", true)
	row("one pod, WaitForFirstConsumer", waiting, "Running <= emptyDir + 1.3 s", quantile(waiting.running, .5) <= base+1300*time.Millisecond)
	row("one pod, Immediate", immediate, "Running <= emptyDir + 0.2 s", quantile(immediate.running, .5) <= base+200*time.Millisecond)
	many(w, "attach off")
	for _, node := range []string{"node-1", "node-2"} {
		said := w.machine("on", node, "sh", "-c", "for p in $(pgrep -x loam); do if grep -qz '^node$' /proc/$p/cmdline; then awk '/VmRSS/ {print $2}' /proc/$p/status; fi; done")
		fmt.Printf("count: RSS of loam on %s, idle: %s KiB (target 30720)\n", node, strings.TrimSpace(said))
	}
}

func howLongAttached(w *world) { many(w, "attach on") }

// many compares twenty pods with claims with twenty without.
func many(w *world, how string) {
	w.Helper()
	empty := start(w, "e", 20, "")
	loam := start(w, "l", 20, "loam")
	row("20 pods, emptyDir", empty, "", true)
	row("20 pods, WaitForFirstConsumer, "+how, loam, "Running p50 <= 2 x emptyDir", how != "attach off" || quantile(loam.running, .5) <= 2*quantile(empty.running, .5))
	row("  the same", took{bound: loam.bound}, "bound p99 < 1 s", quantile(loam.bound, .99) < time.Second)
	ratio := float64(quantile(loam.running, .5)) / float64(quantile(empty.running, .5))
	fmt.Printf("count: 20 pods, %s: Running p50 is %.2f x that of emptyDir\n", how, ratio)
}
