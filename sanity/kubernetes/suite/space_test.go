package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/yaml"
)

// space is a test and its namespace.
type space struct {
	*testing.T
	*cluster
	ctx   context.Context
	name  string
	began time.Time
}

// newSpace makes a namespace, which goes with the test. What loam and the cluster say of a failed test is printed.
func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{T: t, cluster: connect(t), ctx: t.Context(), began: time.Now()}
	n, err := s.kube.CoreV1().Namespaces().Create(s.ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "loam-test-"}}, metav1.CreateOptions{})
	ok(t, "make a namespace", err)
	s.name = n.Name
	t.Cleanup(func() {
		s.ctx = context.WithoutCancel(s.ctx)
		if t.Failed() {
			s.explain()
		}
		s.remove(namespaces, s.name)
		s.volumesGone()
	})
	return s
}

// remove deletes an object and waits until it is gone.
func (s *space) remove(k kind, name string) {
	s.Helper()
	s.delete(k, name)
	s.gone(k, name)
}

func (s *space) delete(k kind, name string) {
	s.Helper()
	err := s.resource(k).Delete(s.ctx, name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
	if !apierrors.IsNotFound(err) {
		ok(s, fmt.Sprintf("delete %s %s", k, name), err)
	}
}

// volumesGone waits until no PersistentVolume of the namespace is left but those that are to be retained.
func (s *space) volumesGone() {
	s.Helper()
	pvs, err := s.kube.CoreV1().PersistentVolumes().List(s.ctx, metav1.ListOptions{})
	ok(s, "list PersistentVolumes", err)
	for _, pv := range pvs.Items {
		if pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.Namespace == s.name && pv.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete {
			s.gone(volumes, pv.Name)
		}
	}
}

// kind is a kind of object: its group, version and resource, with a dot in front where it has no namespace.
type kind string

const (
	namespaces     kind = ".v1/namespaces"
	nodes          kind = ".v1/nodes"
	pods           kind = "v1/pods"
	claims         kind = "v1/persistentvolumeclaims"
	volumes        kind = ".v1/persistentvolumes"
	events         kind = "v1/events"
	statefulSets   kind = "apps/v1/statefulsets"
	daemonSets     kind = "apps/v1/daemonsets"
	deployments    kind = "apps/v1/deployments"
	jobs           kind = "batch/v1/jobs"
	classes        kind = ".storage.k8s.io/v1/storageclasses"
	drivers        kind = ".storage.k8s.io/v1/csidrivers"
	attachments    kind = ".storage.k8s.io/v1/volumeattachments"
	capacities     kind = "storage.k8s.io/v1/csistoragecapacities"
	leases         kind = "coordination.k8s.io/v1/leases"
	snapshots      kind = "snapshot.storage.k8s.io/v1/volumesnapshots"
	contents       kind = ".snapshot.storage.k8s.io/v1/volumesnapshotcontents"
	groupSnapshots kind = "groupsnapshot.storage.k8s.io/v1/volumegroupsnapshots"
	groupContents  kind = ".groupsnapshot.storage.k8s.io/v1/volumegroupsnapshotcontents"
)

func (k kind) String() string { return string(k[strings.LastIndex(string(k), "/")+1:]) }

func (k kind) resource() schema.GroupVersionResource {
	parts := strings.Split(strings.TrimPrefix(string(k), "."), "/")
	if len(parts) == 2 {
		parts = append([]string{""}, parts...)
	}
	return schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]}
}

func (s *space) resource(k kind) dynamic.ResourceInterface {
	return s.in(k, s.name)
}

func (c *cluster) in(k kind, namespace string) dynamic.ResourceInterface {
	if strings.HasPrefix(string(k), ".") {
		return c.dynamic.Resource(k.resource())
	}
	return c.dynamic.Resource(k.resource()).Namespace(namespace)
}

// create makes an object of the given kind in the namespace of the test.
func (s *space) create(k kind, object any) {
	s.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	ok(s, "convert", err)
	u := &unstructured.Unstructured{Object: fields}
	delete(fields, "status")
	gv := k.resource().GroupVersion()
	u.SetAPIVersion(gv.String())
	if u.GetKind() == "" {
		u.SetKind(kindOf(object))
	}
	_, err = s.resource(k).Create(s.ctx, u, metav1.CreateOptions{})
	ok(s, fmt.Sprintf("create %s %q", k, u.GetName()), err)
}

// kindOf returns the name of the Go type, which is the kind of what k8s.io/api has.
func kindOf(object any) string {
	name := fmt.Sprintf("%T", object)
	return name[strings.LastIndex(name, ".")+1:]
}

// until waits until an object is as wanted, and returns it.
func until[T any](s *space, k kind, name, wanted string, is func(*T) bool) *T {
	s.Helper()
	return untilIn(s, k, s.name, name, wanted, is)
}

func untilIn[T any](s *space, k kind, namespace, name, wanted string, is func(*T) bool) *T {
	s.Helper()
	var object *T
	s.follow(s.in(k, namespace), fmt.Sprintf("%s %q", k, name), "metadata.name="+name, wanted, func(u *unstructured.Unstructured) bool {
		if u == nil {
			return false
		}
		object = new(T)
		ok(s, "convert", runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, object))
		return is(object)
	})
	return object
}

// gone waits until an object is not there.
func (s *space) gone(k kind, name string) {
	s.Helper()
	s.follow(s.resource(k), fmt.Sprintf("%s %q", k, name), "metadata.name="+name, "gone", func(u *unstructured.Unstructured) bool { return u == nil })
}

// follow calls is with each state of what a field selector selects, nil for that it is not there, until it says true.
// It watches, and asks again and again nothing.
func (s *space) follow(r dynamic.ResourceInterface, what, selector, wanted string, is func(*unstructured.Unstructured) bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	list, err := r.List(ctx, metav1.ListOptions{FieldSelector: selector})
	ok(s, "list "+what, err)
	var last *unstructured.Unstructured
	for i := range list.Items {
		last = &list.Items[i]
		if is(last) {
			return
		}
	}
	if last == nil && is(nil) {
		return
	}
	watcher := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		o.FieldSelector = selector
		return r.Watch(ctx, o)
	}}
	_, err = watchtools.Until(ctx, list.GetResourceVersion(), watcher, func(e watch.Event) (bool, error) {
		if e.Type == watch.Error {
			return false, apierrors.FromObject(e.Object)
		}
		last = e.Object.(*unstructured.Unstructured)
		if e.Type == watch.Deleted {
			return is(nil), nil
		}
		return is(last), nil
	})
	if err == nil {
		return
	}
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		err = fmt.Errorf("not after %v", patience)
	}
	state := "it is not there"
	if last != nil {
		last.SetManagedFields(nil)
		text, _ := yaml.Marshal(last.Object)
		state = string(text)
	}
	s.Fatalf("%s is to be %s: %v; last seen:\n%s", what, wanted, err, state)
}

// event waits for an event of an object that says the given text, in its reason or its message.
func (s *space) event(name, text string) string {
	s.Helper()
	return s.eventIn(s.name, name, text)
}

func (s *space) eventIn(namespace, name, text string) string {
	s.Helper()
	var said string
	s.follow(s.in(events, namespace), "an event of "+name, "involvedObject.name="+name, fmt.Sprintf("one that says %q", text), func(u *unstructured.Unstructured) bool {
		if u == nil {
			return false
		}
		reason, _, _ := unstructured.NestedString(u.Object, "reason")
		message, _, _ := unstructured.NestedString(u.Object, "message")
		said = reason + ": " + message
		return strings.Contains(said, text)
	})
	return said
}
