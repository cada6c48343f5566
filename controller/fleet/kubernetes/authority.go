package kubernetes

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// Authority makes the certificate that the controller serves nodes with, and the authority that nodes trust,
// and renews both in time. All replicas share them in one Secret; the ConfigMap has what nodes need of it.
// Both are made empty by whoever installs loam, so that the controller needs no right to create any.
type Authority struct {
	api               *API
	namespace         string
	secret, configMap string
	names             []string // DNS names of the controller
	now               func() time.Time
	certificate       atomic.Pointer[tls.Certificate]
	servingAs         string // what Certificate was made of
}

// The names of what an Authority keeps.
const (
	SecretName    = "loam-controller-tls"
	ConfigMapName = "loam-controller-ca"
)

// NewAuthority returns an Authority for a controller of those DNS names. Nothing can be served before
// Refresh.
func NewAuthority(api *API, namespace string, names []string) *Authority {
	return &Authority{api: api, namespace: namespace, secret: SecretName, configMap: ConfigMapName, names: names, now: time.Now}
}

// Certificate is a tls.Config.GetCertificate.
func (a *Authority) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := a.certificate.Load(); c != nil {
		return c, nil
	}
	return nil, volume.Errorf(volume.Unavailable, "the controller has no certificate yet")
}

// Run refreshes until ctx ends, once a minute, which is also how fast a replica follows another one.
func (a *Authority) Run(ctx context.Context) {
	ticks := time.NewTicker(time.Minute)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if err := a.Refresh(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "certificate not refreshed")
		}
	}
}

// Refresh makes or renews what is due, publishes it, and serves what there is. The kind of its error is
// Unavailable.
func (a *Authority) Refresh(ctx context.Context) error {
	data, err := a.renew(ctx)
	if err != nil {
		return volume.Errorf(volume.Unavailable, "Secret %s/%s: %w", a.namespace, a.secret, err)
	}
	published := a.publish(ctx, string(data[keyTrusted]))
	if serving := string(data[keyServing]); serving != a.servingAs {
		pair, err := tls.X509KeyPair(data[keyServing], data[keyServingKey])
		if err != nil {
			return volume.Errorf(volume.Unavailable, "Secret %s/%s: %w", a.namespace, a.secret, err)
		}
		a.certificate.Store(&pair)
		a.servingAs = serving
		klog.FromContext(ctx).Info("serving a certificate", "validUntil", pair.Leaf.NotAfter)
	}
	if published != nil { // nodes that have it trust what is served all the same
		return volume.Errorf(volume.Unavailable, "ConfigMap %s/%s: %w", a.namespace, a.configMap, published)
	}
	return nil
}

// renew brings the Secret up to date and returns its data. Who loses a race against another replica looks
// again.
func (a *Authority) renew(ctx context.Context) (map[string][]byte, error) {
	for {
		var secret core.Secret
		if err := a.api.get(ctx, a.namespace, "secrets", a.secret, &secret); err != nil {
			return nil, err
		}
		data, changed, err := advance(secret.Data, a.names, a.now())
		if err != nil || !changed {
			return data, err
		}
		secret.Data = data
		if err := a.api.update(ctx, a.namespace, "secrets", a.secret, &secret); !apierrors.IsConflict(err) {
			return data, err
		}
	}
}

// publish tells the nodes whom to trust.
func (a *Authority) publish(ctx context.Context, trusted string) error {
	for {
		var published core.ConfigMap
		if err := a.api.get(ctx, a.namespace, "configmaps", a.configMap, &published); err != nil || published.Data[keyTrusted] == trusted {
			return err
		}
		published.Data = map[string]string{keyTrusted: trusted}
		if err := a.api.update(ctx, a.namespace, "configmaps", a.configMap, &published); !apierrors.IsConflict(err) {
			return err
		}
	}
}
