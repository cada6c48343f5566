package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

func TestNodeIsGoneOnlyWhenTheAPISaysSo(t *testing.T) {
	s, api := newAPI(t)
	long := strings.Repeat("a-long-name.", 8) + "example"
	for _, name := range []string{"node-1", "a-1", "a-2", "a-3", "a-4", long} {
		s.put("/api/v1/nodes/"+name, aNode(name))
	}
	c := NewCluster(api, "loam-system", "loam-controller-0")
	for name, want := range map[string]bool{"node-1": true, volume.NodeName(long): true, "node-2": false} {
		if got, err := c.HasNode(t.Context(), name); got != want || err != nil {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
	s.proxy = true
	if got, err := c.HasNode(t.Context(), "node-2"); got || !volume.Is(err, volume.Unavailable) {
		t.Errorf("something that is not the API says that there is nothing: %t, %v", got, err)
	}
	s.proxy, s.away = false, true
	if got, err := c.HasNode(t.Context(), "node-2"); got || !volume.Is(err, volume.Unavailable) {
		t.Errorf("the API is away: %t, %v", got, err)
	}
}

func TestEventSaysWhatTheAPITakes(t *testing.T) {
	s, api := newAPI(t)
	c := NewCluster(api, "loam-system", "loam-controller-0")
	c.Report(klog.NewContext(t.Context(), klog.Logger{}), "NodeGone", strings.Repeat("lo\u2026ng ", 1000)) // the cut is inside of a letter
	if len(s.events) != 1 || s.events[0].Regarding.Name != "loam-controller-0" || s.events[0].Reason != "NodeGone" {
		t.Fatalf("events: %+v", s.events)
	}
	if note := s.events[0].Note; len(note) > 1024 || len(note) < 1000 || strings.ContainsRune(note, '\uFFFD') {
		t.Errorf("%d bytes: %s", len(note), note)
	}
}

func TestHandlesAreThoseOfOurDriver(t *testing.T) {
	s, api := newAPI(t)
	for i, driver := range []string{"loam.storage", "other", "loam.storage"} {
		pv := &core.PersistentVolume{TypeMeta: meta.TypeMeta{Kind: "PersistentVolume", APIVersion: "v1"}, ObjectMeta: meta.ObjectMeta{Name: fmt.Sprint(i)}}
		pv.Spec.CSI = &core.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: fmt.Sprintf("n/p/v%d", i)}
		s.put("/api/v1/persistentvolumes/"+pv.Name, pv)
	}
	s.put("/api/v1/persistentvolumes/local", &core.PersistentVolume{ObjectMeta: meta.ObjectMeta{Name: "local"}})
	got, err := NewCluster(api, "", "").VolumeHandles(t.Context())
	if err != nil || len(got) != 2 || !got["n/p/v0"] || !got["n/p/v2"] {
		t.Errorf("%v, %v", got, err)
	}
}
