package suite

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// start is how long after its claim was asked for a pod had it bound and ran, as a watch saw it.
type start struct{ bound, running time.Duration }

const (
	alone = 5  // times that one pod is started
	many  = 20 // pods that are started at once
)

// startTimes measures how long pods take to start, with volumes of each binding mode and with an emptyDir, one at a
// time and twenty at once, and prints it beside what it is to be.
func startTimes(s *space) {
	s.starts("warm", late, 4) // images and caches
	s.count("%-44s %9s %9s %12s %12s", "milliseconds", "bound p50", "p99", "Running p50", "longest")
	empty := s.measure("1 pod, emptyDir", "", 1, alone)
	now := s.measure("1 pod, Immediate", immediate, 1, alone)
	waits := s.measure("1 pod, WaitForFirstConsumer", late, 1, alone)
	empty20 := s.measure("20 pods at once, emptyDir", "", many, 1)
	waits20 := s.measure("20 pods at once, WaitForFirstConsumer", late, many, 1)
	now20 := s.measure("20 pods at once, Immediate", immediate, many, 1)
	s.target("1 pod, Immediate: Running after emptyDir's time + 200 ms", half(now), half(empty)+200*time.Millisecond)
	s.target("1 pod, WaitForFirstConsumer: emptyDir's time + 1300 ms", half(waits), half(empty)+1300*time.Millisecond)
	s.target("20 pods, WaitForFirstConsumer: 2 times emptyDir's", half(waits20), 2*half(empty20))
	s.target("20 pods, WaitForFirstConsumer: bound, p99, 1 s", percentile(waits20, 99, bound), time.Second)
	s.target("20 pods, Immediate: bound, p99, 1 s", percentile(now20, 99, bound), time.Second)
	for _, node := range s.nodes(s.T) {
		s.count("loam on %s after that: %.1f MiB resident", node, s.resident(node))
	}
}

// idleMemory prints what loam on a node holds when nothing is asked of it.
func idleMemory(s *space) {
	for _, node := range s.nodes(s.T) {
		is := s.resident(node)
		s.count("loam on %s idle: %.1f MiB resident, target 30 MiB: %s", node, is, met(is <= 30))
	}
}

// resident returns how many mebibytes of memory loam on a node has.
func (s *space) resident(node string) float64 {
	s.Helper()
	return s.metric(node, "process_resident_memory_bytes") / (1 << 20)
}

// startTimesWithAttach measures what attach.enabled costs. There are no targets: it is why it is off.
func startTimesWithAttach(s *space) {
	s.starts("warm", late, 4)
	s.count("%-44s %9s %9s %12s %12s", "milliseconds, with attach", "bound p50", "p99", "Running p50", "longest")
	s.measure("1 pod, WaitForFirstConsumer", late, 1, 3)
	s.measure("20 pods at once, emptyDir", "", many, 1)
	s.measure("20 pods at once, WaitForFirstConsumer", late, many, 1)
}

func bound(s start) time.Duration   { return s.bound }
func running(s start) time.Duration { return s.running }

// half returns the time after which half of the pods ran.
func half(of []start) time.Duration { return percentile(of, 50, running) }

func (s *space) count(format string, args ...any) {
	s.Helper()
	s.Logf("count: "+format, args...)
}

func (s *space) target(what string, is, want time.Duration) {
	s.Helper()
	s.count("%-60s %6d ms, target %6d ms: %s", what, is.Milliseconds(), want.Milliseconds(), met(is <= want))
}

func met(is bool) string {
	if is {
		return "met"
	}
	return "NOT MET"
}

func percentile(of []start, percent int, get func(start) time.Duration) time.Duration {
	var all []time.Duration
	for _, one := range of {
		all = append(all, get(one))
	}
	slices.Sort(all)
	return all[min(len(all)*percent/100, len(all)-1)]
}

// measure starts pods some times over and prints a line of it.
func (s *space) measure(what, class string, count, rounds int) []start {
	s.Helper()
	var all []start
	for i := range rounds {
		all = append(all, s.starts(fmt.Sprintf("p%d", i), class, count)...)
	}
	line := func(get func(start) time.Duration, percent int) int64 {
		return percentile(all, percent, get).Milliseconds()
	}
	if class == "" {
		s.count("%-44s %9s %9s %12d %12d", what, "-", "-", line(running, 50), line(running, 100))
	} else {
		s.count("%-44s %9d %9d %12d %12d", what, line(bound, 50), line(bound, 99), line(running, 50), line(running, 100))
	}
	return all
}

// starts makes so many pairs of a claim and a pod at once, or pods with an emptyDir where class is "", and removes
// them again.
func (s *space) starts(prefix, class string, count int) []start {
	s.Helper()
	seen := s.observe()
	began := make([]time.Time, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			name := fmt.Sprintf("%s-%d", prefix, i)
			began[i] = time.Now()
			if class == "" {
				s.create(pods, pod(name, with("data", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})))
				return
			}
			s.create(claims, claim(name, class, "64Mi"))
			s.create(pods, pod(name, mounts(name)))
		})
	}
	all.Wait()
	starts := make([]start, count)
	for i := range starts {
		name := fmt.Sprintf("%s-%d", prefix, i)
		starts[i].running = seen.at(s, "Pod "+name).Sub(began[i])
		if class != "" {
			starts[i].bound = seen.at(s, "claim "+name).Sub(began[i])
		}
	}
	for i := range count {
		name := fmt.Sprintf("%s-%d", prefix, i)
		s.delete(pods, name)
		s.delete(claims, name)
	}
	for i := range count {
		s.gone(pods, fmt.Sprintf("%s-%d", prefix, i))
		s.gone(claims, fmt.Sprintf("%s-%d", prefix, i))
	}
	s.volumesGone()
	return starts
}

// sightings is when a watch first saw a claim bound and a pod running.
type sightings struct {
	mu      sync.Mutex
	when    map[string]time.Time
	changed chan struct{}
}

func (s *space) observe() *sightings {
	s.Helper()
	seen := &sightings{when: map[string]time.Time{}, changed: make(chan struct{}, 1)}
	claims, err := s.kube.CoreV1().PersistentVolumeClaims(s.name).Watch(s.ctx, listAll)
	ok(s, "watch claims", err)
	pods, err := s.kube.CoreV1().Pods(s.name).Watch(s.ctx, listAll)
	ok(s, "watch pods", err)
	s.Cleanup(func() { claims.Stop(); pods.Stop() })
	go seen.note(claims.ResultChan())
	go seen.note(pods.ResultChan())
	return seen
}

func (o *sightings) note(events <-chan watch.Event) {
	for e := range events {
		key := ""
		switch object := e.Object.(type) {
		case *v1.PersistentVolumeClaim:
			if object.Status.Phase == v1.ClaimBound {
				key = "claim " + object.Name
			}
		case *v1.Pod:
			if object.Status.Phase == v1.PodRunning {
				key = "Pod " + object.Name
			}
		}
		now := time.Now()
		o.mu.Lock()
		if _, known := o.when[key]; !known && key != "" {
			o.when[key] = now
		}
		o.mu.Unlock()
		select {
		case o.changed <- struct{}{}:
		default:
		}
	}
}

// at waits until something was seen, and returns when.
func (o *sightings) at(s *space, key string) time.Time {
	s.Helper()
	limit := time.After(patience)
	for {
		o.mu.Lock()
		when, known := o.when[key]
		o.mu.Unlock()
		if known {
			return when
		}
		select {
		case <-o.changed:
		case <-limit:
			s.Fatalf("%s is not there after %v", key, patience)
		}
	}
}

// metric returns the value of a metric of loam on a node.
func (s *space) metric(node, name string) float64 {
	s.Helper()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://"+s.nodePod(node).Status.PodIP+":9808/metrics", nil)
	ok(s, "ask for metrics", err)
	response, err := http.DefaultClient.Do(request)
	ok(s, "ask for metrics", err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	ok(s, "read metrics", err)
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(line, name+" "); is {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			ok(s, "read metric "+name, err)
			return n
		}
	}
	s.Fatalf("loam on %q has no metric %q", node, name)
	return 0
}
