package kubernetes

import (
	"context"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	events "k8s.io/api/events/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

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
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, authentication.AddToScheme, events.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, volume.Errorf(volume.Invalid, "Kubernetes: %w", err)
		}
	}
	config = rest.CopyConfig(config)
	config.Timeout = 10 * time.Second
	config.QPS, config.Burst = 100, 200 // a controller that starts reviews a token for each node
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
	return done, a.authentication.Post().Resource("tokenreviews").Body(r).Do(ctx).Into(done)
}

func (a *API) createEvent(ctx context.Context, e *events.Event) error {
	return a.events.Post().Namespace(e.Namespace).Resource("events").Body(e).Do(ctx).Error()
}

// get reads one object, in a namespace or, where that is empty, of the cluster.
func (a *API) get(ctx context.Context, namespace, resource, name string, into runtime.Object) error {
	return a.core.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).Name(name).Do(ctx).Into(into)
}

// update replaces an object if it is still the one that was read, and is a conflict otherwise.
func (a *API) update(ctx context.Context, namespace, resource, name string, object runtime.Object) error {
	return a.core.Put().Namespace(namespace).Resource(resource).Name(name).Body(object).Do(ctx).Error()
}

// list reads a page of the objects of the cluster.
func (a *API) list(ctx context.Context, resource, from string, into runtime.Object) error {
	return a.core.Get().Resource(resource).VersionedParams(&meta.ListOptions{Limit: 500, Continue: from}, a.parameters).Do(ctx).Into(into)
}
