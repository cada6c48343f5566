//go:build kubernetes

// Package kubernetes_test proves that loam works in a real Kubernetes: an API server, scheduler, kubelets and the
// upstream sidecars, on two nodes. sanity/kubernetes/test brings the cluster up, installs loam from its chart,
// and runs this where the API can be reached.
package kubernetes_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	busybox = "registry.k8s.io/e2e-test-images/busybox:1.37.0-2"
	system  = "loam-system"
)

// world is a namespace with what a test makes in it. It is gone when the test has ended, and so is all that came to
// be for it.
type world struct {
	*testing.T
	namespace string
	api       *kubernetes.Clientset
}

func newWorld(t *testing.T) *world {
	t.Helper()
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(filepath.Base(t.Name()))), "-")
	w := &world{T: t, namespace: strings.Trim(name[:min(len(name), 50)], "-"), api: client(t)}
	w.kubectl("create", "namespace", w.namespace)
	t.Cleanup(func() {
		if t.Failed() {
			w.tell()
		}
		w.kubectlIn("", "delete", "namespace", w.namespace, "--wait=true", "--timeout=120s")
		w.until(60*time.Second, "the volumes of "+w.namespace+" to be gone", func() error {
			if left := w.kubectlIn("", "get", "pv", "-o", `jsonpath={range .items[?(@.spec.claimRef.namespace=="`+w.namespace+`")]}{.metadata.name} {.spec.persistentVolumeReclaimPolicy}{"\n"}{end}`); strings.Contains(left, "Delete") {
				return fmt.Errorf("still there: %s", left)
			}
			return nil
		})
	})
	return w
}

func client(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 500, 1000
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// tell prints what helps to see why a test failed.
func (w *world) tell() {
	for _, args := range [][]string{
		{"get", "pods,pvc,volumesnapshots", "-o", "wide"}, {"describe", "pods"}, {"get", "events", "--sort-by=.lastTimestamp"},
	} {
		out, _ := run("kubectl", append([]string{"-n", w.namespace}, args...)...)
		w.Logf("%s\n%s", strings.Join(args, " "), out)
	}
	for _, args := range [][]string{
		{"logs", "-l", "app.kubernetes.io/component=node", "--prefix", "--tail=60"}, {"logs", "-l", "app.kubernetes.io/component=controller", "-c", "loam", "--prefix", "--tail=60"},
		{"logs", "-l", "app.kubernetes.io/component=controller", "-c", "csi-provisioner", "--prefix", "--tail=30"},
	} {
		out, _ := run("kubectl", append([]string{"-n", system}, args...)...)
		w.Logf("%s\n%s", strings.Join(args, " "), out)
	}
}

// run runs a command and returns all that it prints.
func run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), err
}

// kubectl runs kubectl in the namespace of the test, which fails if it does.
func (w *world) kubectl(args ...string) string { w.Helper(); return w.kubectlIn(w.namespace, args...) }

func (w *world) kubectlIn(namespace string, args ...string) string {
	w.Helper()
	if namespace != "" {
		args = append([]string{"-n", namespace}, args...)
	}
	out, err := run("kubectl", args...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// machine runs the cluster script, which has the nodes in its hand.
func (w *world) machine(args ...string) string {
	w.Helper()
	out, err := run(os.Getenv("LOAM_TEST_CLUSTER"), args...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// apply makes what a manifest says.
func (w *world) apply(manifest string) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		w.Fatal(err)
	}
	w.kubectl("apply", "-f", file)
}

// until waits for f to have no error.
func (w *world) until(most time.Duration, what string, f func() error) {
	w.Helper()
	end := time.Now().Add(most)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("waited %s for %s: %v", most, what, err)
		}
		time.Sleep(100 * time.Millisecond) // between two looks
	}
}

// says waits for a field of an object to have a value.
func (w *world) says(object, path, want string) {
	w.Helper()
	w.until(90*time.Second, object+" "+path+" = "+want, func() error {
		out, err := run("kubectl", "-n", w.namespace, "get", object, "-o", "jsonpath="+path)
		if err == nil && out != want {
			err = fmt.Errorf("it is %q", out)
		}
		return err
	})
}

func (w *world) ready(pods ...string) {
	w.Helper()
	for _, pod := range pods {
		w.kubectl("wait", "--for=condition=Ready", "pod/"+pod, "--timeout=120s")
	}
}

// in runs a shell command in a pod and returns what it prints.
func (w *world) in(pod, command string) string {
	w.Helper()
	return w.kubectl("exec", pod, "--", "sh", "-c", command)
}

func (w *world) delete(object string) {
	w.Helper()
	w.kubectl("delete", object, "--wait=true", "--timeout=120s")
}

func (w *world) get(object, path string) string {
	w.Helper()
	return w.kubectl("get", object, "-o", "jsonpath="+path)
}

// handle returns the handle of the volume of a claim.
func (w *world) handle(claim string) string {
	w.Helper()
	return w.kubectlIn("", "get", "pv", w.get("pvc/"+claim, "{.spec.volumeName}"), "-o", "jsonpath={.spec.csi.volumeHandle}")
}
