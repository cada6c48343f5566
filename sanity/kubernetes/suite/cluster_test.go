package suite

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
)

const (
	driver    = "loam.storage"
	system    = "loam-system" // the namespace of loam
	nodeLabel = "loam.storage/node"

	patience = 5 * time.Minute // for what takes seconds, on a busy machine
)

// cluster is a cluster as its administrator reaches it.
type cluster struct {
	kube    *kubernetes.Clientset
	dynamic *dynamic.DynamicClient
	config  *rest.Config
}

func connect(t *testing.T) *cluster {
	t.Helper()
	path := setting(t, "KUBECONFIG")
	config, err := clientcmd.BuildConfigFromFlags("", path)
	ok(t, "read "+path, err)
	config.QPS = -1 // no limit: it would be measured too
	c := &cluster{config: config}
	c.kube, err = kubernetes.NewForConfig(config)
	ok(t, "connect", err)
	c.dynamic, err = dynamic.NewForConfig(config)
	ok(t, "connect", err)
	return c
}

// setting returns what an environment variable says of the cluster.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: these tests are run by `make test-kubernetes`", name)
	}
	return value
}

func ok(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// nodes returns the names of the nodes, sorted.
func (c *cluster) nodes(t *testing.T) []string {
	t.Helper()
	list, err := c.kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	ok(t, "list nodes", err)
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	if len(names) < 2 {
		t.Fatalf("the cluster has the nodes %q: these tests need two", names)
	}
	return names
}

// sh runs a shell command in a pod of a test and returns what it prints.
func (c *cluster) sh(ctx context.Context, namespace, pod, command string) (string, error) {
	return c.exec(ctx, namespace, pod, "sh", "-c", command)
}

// exec runs a command in a pod: in the container of loam, where it has more than one.
func (c *cluster) exec(ctx context.Context, namespace, pod string, command ...string) (string, error) {
	container := ""
	if namespace == system {
		container = "loam"
	}
	request := c.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&v1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(c.config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return stdout.String(), &failure{command, stderr.String(), err}
	}
	return stdout.String(), nil
}

// failure is that of a command, with what it said.
type failure struct {
	command []string
	stderr  string
	err     error
}

func (f *failure) Error() string {
	return strings.Join(f.command, " ") + ": " + f.err.Error() + ": " + strings.TrimSpace(f.stderr)
}

func (f *failure) Unwrap() error { return f.err }

// command runs a program of the machine that the cluster is on, and returns what it prints.
func command(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return stdout.String(), &failure{c.Args, stdout.String() + stderr.String(), err}
	}
	return stdout.String(), nil
}
