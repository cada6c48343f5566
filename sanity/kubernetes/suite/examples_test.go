package suite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const examplesDirectory = "../../../deploy/examples"

// examples applies each file of deploy/examples as a user would, and waits until all that it has is as it is to be.
func examples(s *space) {
	files, err := filepath.Glob(filepath.Join(examplesDirectory, "*.yaml"))
	ok(s, "list examples", err)
	if len(files) == 0 {
		s.Fatalf("%s has no examples", examplesDirectory)
	}
	for _, file := range files {
		s.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			newSpace(t).example(file)
		})
	}
}

// example applies a file, and before it the one that it says it comes after. The end of the namespace removes both.
func (s *space) example(file string) {
	if text, err := os.ReadFile(file); err == nil {
		if match := comesAfter.FindSubmatch(text); match != nil {
			before := filepath.Join(filepath.Dir(file), string(match[1]))
			s.applyExample(before)
		}
	}
	s.applyExample(file)
}

// comesAfter is how an example says that another is to be applied first.
var comesAfter = regexp.MustCompile(`^# After ([a-z-]+\.yaml)`)

func (s *space) applyExample(file string) {
	s.Helper()
	objects := s.readObjects(file)
	if len(objects) == 0 {
		s.Fatalf("%s has no objects", file)
	}
	_, err := command(s.ctx, "kubectl", "apply", "--namespace", s.name, "--filename", file)
	ok(s, "apply "+file, err)
	for _, u := range objects {
		s.finished(u)
	}
}

func (s *space) readObjects(file string) []*unstructured.Unstructured {
	s.Helper()
	text, err := os.ReadFile(file)
	ok(s, "read an example", err)
	var all []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		u := &unstructured.Unstructured{}
		err := decoder.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		ok(s, "read "+file, err)
		if len(u.Object) > 0 {
			all = append(all, u)
		}
	}
}

// finished waits until an object of an example is what its author wants to see.
func (s *space) finished(u *unstructured.Unstructured) {
	s.Helper()
	name := u.GetName()
	switch u.GetKind() {
	case "PersistentVolumeClaim":
		s.bound(name)
		s.grown(name) // an example may ask for more than there was
	case "Pod":
		p := until(s, pods, name, "running or done", func(p *v1.Pod) bool { return isReady(p) || hasEnded(p) })
		if p.Status.Phase == v1.PodFailed {
			s.Fatalf("pod %q failed: %s", name, s.logs(name))
		}
	case "Job":
		job := until(s, jobs, name, "done", func(j *batchv1.Job) bool {
			return len(j.Status.Conditions) > 0 && j.Status.CompletionTime != nil || j.Status.Failed > 0
		})
		if job.Status.Failed > 0 {
			s.Fatalf("job %q failed: %+v", name, job.Status)
		}
	case "StatefulSet":
		until(s, statefulSets, name, "ready", func(d *appsv1.StatefulSet) bool { return d.Status.ReadyReplicas == *d.Spec.Replicas })
	case "Deployment":
		until(s, deployments, name, "ready", func(d *appsv1.Deployment) bool { return d.Status.ReadyReplicas == *d.Spec.Replicas })
	case "VolumeSnapshot":
		s.usable(snapshots, name)
	case "VolumeGroupSnapshot":
		s.usable(groupSnapshots, name)
	default:
		if plain := []string{"Service", "ConfigMap", "StorageClass", "VolumeSnapshotClass", "VolumeGroupSnapshotClass", "Secret", "Namespace"}; !slices.Contains(plain, u.GetKind()) {
			s.Fatal(fmt.Errorf("an example has a %s: say here when it is finished", u.GetKind()))
		}
	}
}
