package kubernetes

import (
	"context"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	events "k8s.io/api/events/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// Cluster answers what fleet.Cluster asks.
type Cluster struct {
	api            *API
	namespace, pod string // of this controller
}

// NewCluster returns the cluster in which this controller is the given pod.
func NewCluster(api *API, namespace, pod string) *Cluster {
	return &Cluster{api: api, namespace: namespace, pod: pod}
}

// HasNode says whether the cluster has a node whose volume.NodeName is the given one. The kind of its error is
// Unavailable.
func (c *Cluster) HasNode(ctx context.Context, node string) (bool, error) {
	has, err := c.api.hasNode(ctx, node)
	if err != nil {
		return false, volume.Errorf(volume.Unavailable, "Kubernetes: %w", err)
	}
	if has {
		return true, nil
	}
	// A long name is in handles with a hash for its end, so it is looked for among all.
	all, err := c.NodeNames(ctx)
	return all[node], err
}

// NodeNames returns the volume.NodeNames of all nodes of the cluster. The kind of its error is Unavailable.
func (c *Cluster) NodeNames(ctx context.Context) (map[string]bool, error) {
	all := map[string]bool{}
	for next := ""; ; {
		var names []string
		var err error
		if names, next, err = c.api.nodeNames(ctx, next); err != nil {
			return nil, volume.Errorf(volume.Unavailable, "Kubernetes: %w", err)
		}
		for _, name := range names {
			all[volume.NodeName(name)] = true
		}
		if next == "" {
			break
		}
	}
	if len(all) == 0 { // this process runs on one
		return nil, volume.Errorf(volume.Unavailable, "Kubernetes: the API says that the cluster has no node at all")
	}
	return all, nil
}

// maxNoteBytes is how long the API lets the text of an event be.
const maxNoteBytes = 1024

// Report makes an event of the controller's pod, and a line of the log.
func (c *Cluster) Report(ctx context.Context, reason, message string) {
	logger := klog.FromContext(ctx)
	logger.Info(message, "reason", reason)
	now := meta.NewMicroTime(time.Now())
	err := c.api.createEvent(ctx, &events.Event{
		ObjectMeta:          meta.ObjectMeta{GenerateName: c.pod + "-", Namespace: c.namespace},
		EventTime:           now,
		ReportingController: volume.DriverName,
		ReportingInstance:   c.pod,
		Action:              "Routing",
		Reason:              reason,
		Regarding:           core.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: c.namespace, Name: c.pod},
		Note:                strings.ToValidUTF8(message[:min(len(message), maxNoteBytes)], ""),
		Type:                core.EventTypeWarning,
	})
	if err != nil {
		logger.Error(err, "event not made", "reason", reason)
	}
}

// VolumeHandles returns the handles of all PersistentVolumes of this driver. The kind of its error is
// Unavailable.
func (c *Cluster) VolumeHandles(ctx context.Context) (map[string]bool, error) {
	handles := map[string]bool{}
	for next := ""; ; {
		var list core.PersistentVolumeList
		if err := c.api.list(ctx, "persistentvolumes", next, &list); err != nil {
			return nil, volume.Errorf(volume.Unavailable, "Kubernetes: %w", err)
		}
		for _, pv := range list.Items {
			if pv.Spec.CSI != nil && pv.Spec.CSI.Driver == volume.DriverName {
				handles[pv.Spec.CSI.VolumeHandle] = true
			}
		}
		if next = list.Continue; next == "" {
			return handles, nil
		}
	}
}
