// Package kubernetes is what the controller asks the Kubernetes API: who a node is (TokenReview), whether the
// cluster still has it, and where the controller keeps its certificate. Nothing else of loam knows the API;
// a node never does.
//
// What it needs, and no more: create tokenreviews; get and list nodes; create events; get and update the one
// Secret and the one ConfigMap; and for "loam orphans", list persistentvolumes.
package kubernetes

import (
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/loam-storage/loam/driver/volume"
)

// Audience is whom a node's token must be for.
const Audience = volume.DriverName

// InCluster returns a client for the API of the cluster in whose pod this process runs. The kind of its error
// is Unavailable outside of one.
func InCluster() (kubernetes.Interface, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, volume.Errorf(volume.Unavailable, "Kubernetes: %w", err)
	}
	config.Timeout = 10 * time.Second
	config.QPS, config.Burst = 100, 200 // a controller that starts reviews a token for each node
	config.UserAgent = "loam"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, volume.Errorf(volume.Internal, "Kubernetes: %w", err)
	}
	return client, nil
}
