package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	groupsnapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumegroupsnapshot/v1"
	snapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

const namespace = "loam-system"

// object is anything that a manifest makes.
type object interface {
	runtime.Object
	meta.Object
}

// cluster is what the chart makes of some values.
type cluster struct {
	*testing.T
	objects []object
}

// with renders the chart with values, written as YAML, in a cluster that can take snapshots.
func with(t *testing.T, values string) cluster {
	t.Helper()
	return withAPIs(t, values, snapshotAPIs...)
}

func withAPIs(t *testing.T, values string, apis ...string) cluster {
	t.Helper()
	manifests, err := render(parse(t, values), apis...)
	if err != nil {
		t.Fatalf("with the values\n%s\n%v", values, err)
	}
	c := cluster{T: t}
	for _, m := range manifests {
		c.objects = append(c.objects, decode(t, m))
	}
	return c
}

func parse(t *testing.T, values string) map[string]any {
	t.Helper()
	parsed := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(values), &parsed); err != nil {
		t.Fatalf("values of the test: %v", err)
	}
	return parsed
}

// decode reads an object as the API server does with fieldValidation=Strict: a field that its type does not have, or
// that is there twice, is an error.
func decode(t *testing.T, manifest string) object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, apps.AddToScheme, rbac.AddToScheme, storage.AddToScheme, policy.AddToScheme,
		networking.AddToScheme, snapshot.AddToScheme, groupsnapshot.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoded, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode([]byte(manifest), nil, nil)
	if err != nil {
		t.Fatalf("%v, in\n%s", err, manifest)
	}
	o, ok := decoded.(object)
	if !ok {
		t.Fatalf("%T is no object", decoded)
	}
	return o
}

// all returns the objects of a type.
func all[O object](c cluster) []O {
	var found []O
	for _, o := range c.objects {
		if o, ok := o.(O); ok {
			found = append(found, o)
		}
	}
	return found
}

// names returns what the objects of a type are called, in alphabetical order.
func names[O object](c cluster) string {
	var found []string
	for _, o := range all[O](c) {
		found = append(found, o.GetName())
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

// get returns the one object of a type and name.
func get[O object](c cluster, name string) O {
	c.Helper()
	for _, o := range all[O](c) {
		if o.GetName() == name {
			return o
		}
	}
	var none O
	c.Fatalf("there is no %T %q", none, name)
	return none
}

func (c cluster) controller() core.PodSpec {
	c.Helper()
	return get[*apps.StatefulSet](c, "loam-controller").Spec.Template.Spec
}

func (c cluster) node() core.PodSpec {
	c.Helper()
	return get[*apps.DaemonSet](c, "loam-node").Spec.Template.Spec
}

func container(t *testing.T, pod core.PodSpec, name string) core.Container {
	t.Helper()
	for _, c := range pod.Containers {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("the pod has no container %q", name)
	return core.Container{}
}

func containers(pod core.PodSpec) string {
	var found []string
	for _, c := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
		found = append(found, c.Name)
	}
	return strings.Join(found, " ")
}

// same compares what is small enough to be printed.
func same[V comparable](t *testing.T, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// text prints a value for same; what is behind pointers too.
func text(v any) string {
	out, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(out)
}
