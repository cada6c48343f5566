package kubernetes

import (
	"context"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	events "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// API is a client for the three groups of the Kubernetes API that loam asks. The usual clientset has all groups
// and would make the binary, which is every node's too, twice as large.
type API struct {
	core, authentication, events rest.Interface
	parameters                   runtime.ParameterCodec
}

// InCluster returns a client for the API of the cluster in whose pod this process runs. The kind of its error
// is Unavailable outside of one.
func InCluster() (*API, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, volume.Errorf(volume.Unavailable, "Kubernetes: %w", err)
	}
	return NewAPI(config)
}

// NewAPI returns a client. The kind of its error is Invalid.
func NewAPI(config *rest.Config) (*API, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, authentication.AddToScheme, events.AddToScheme, meta.AddMetaToScheme} {
		if err := add(scheme); err != nil {
			return nil, volume.Errorf(volume.Invalid, "Kubernetes: %w", err)
		}
	}
	config = rest.CopyConfig(config)
	config.Timeout = 10 * time.Second
	config.QPS, config.Burst = 100, 1000 // of each group: a controller that starts reviews the token of every node, and strangers cost no more than QPS
	config.UserAgent = "loam"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	a := &API{parameters: runtime.NewParameterCodec(scheme)}
	for _, group := range []struct {
		client  *rest.Interface
		path    string
		version schema.GroupVersion
	}{
		{&a.core, "/api", core.SchemeGroupVersion},
		{&a.authentication, "/apis", authentication.SchemeGroupVersion},
		{&a.events, "/apis", events.SchemeGroupVersion},
	} {
		config := rest.CopyConfig(config)
		config.APIPath, config.GroupVersion = group.path, &group.version
		client, err := rest.RESTClientFor(config)
		if err != nil {
			return nil, volume.Errorf(volume.Invalid, "Kubernetes: %w", err)
		}
		*group.client = client
	}
	return a, nil
}

func (a *API) review(ctx context.Context, r *authentication.TokenReview) (*authentication.TokenReview, error) {
	done := &authentication.TokenReview{}
	return done, a.authentication.Post().Resource("tokenreviews").Body(r).Do(withoutBodies(ctx)).Into(done)
}

func (a *API) createEvent(ctx context.Context, e *events.Event) error {
	return a.events.Post().Namespace(e.Namespace).Resource("events").Body(e).Do(ctx).Error()
}

// get reads one object of a namespace.
func (a *API) get(ctx context.Context, namespace, resource, name string, into runtime.Object) error {
	return a.core.Get().Namespace(namespace).Resource(resource).Name(name).Do(withoutBodies(ctx)).Into(into)
}

// update replaces an object if it is still the one that was read, and is a conflict otherwise.
func (a *API) update(ctx context.Context, namespace, resource, name string, object runtime.Object) error {
	return a.core.Put().Namespace(namespace).Resource(resource).Name(name).Body(object).Do(withoutBodies(ctx)).Error()
}

// list reads a page of the objects of the cluster.
func (a *API) list(ctx context.Context, resource, from string, into runtime.Object) error {
	return a.core.Get().Resource(resource).VersionedParams(&meta.ListOptions{Limit: 500, Continue: from}, a.parameters).Do(ctx).Into(into)
}

// A node with all that it says of itself is some 10 KiB; its name is enough.
const onlyMetadata = "application/json;g=meta.k8s.io;v=v1;as="

// hasNode says whether the API has a node of exactly that name.
func (a *API) hasNode(ctx context.Context, name string) (bool, error) {
	err := a.core.Get().SetHeader("Accept", onlyMetadata+"PartialObjectMetadata").Resource("nodes").Name(name).Do(ctx).Into(&meta.PartialObjectMetadata{})
	if apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err) { // which would be something between here and the API
		return false, nil
	}
	return err == nil, err
}

// nodeNames reads a page of the names of all nodes.
func (a *API) nodeNames(ctx context.Context, from string) (names []string, next string, err error) {
	var list meta.PartialObjectMetadataList
	err = a.core.Get().SetHeader("Accept", onlyMetadata+"PartialObjectMetadataList").Resource("nodes").
		VersionedParams(&meta.ListOptions{Limit: 500, Continue: from}, a.parameters).Do(ctx).Into(&list)
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names, list.Continue, err
}

// withoutBodies keeps tokens and keys out of the log: at -v=8 and above client-go writes down what it sends and gets.
func withoutBodies(ctx context.Context) context.Context {
	logger := klog.FromContext(ctx)
	if logger.GetSink() == nil {
		return ctx // nothing is logged
	}
	return klog.NewContext(ctx, logger.WithSink(discreet{logger.GetSink()}))
}

type discreet struct{ klog.LogSink }

func (d discreet) Enabled(level int) bool            { return level < 8 && d.LogSink.Enabled(level) }
func (d discreet) WithValues(kv ...any) klog.LogSink { return discreet{d.LogSink.WithValues(kv...)} }
func (d discreet) WithName(name string) klog.LogSink { return discreet{d.LogSink.WithName(name)} }
