package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/volume"
)

// listed is a controller that lists these volumes, two on a page.
type listed struct {
	csi.UnimplementedControllerServer
	volumes []*csi.Volume
	fails   bool
}

func (l *listed) ListVolumes(_ context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	if l.fails {
		return nil, volume.Errorf(volume.Unavailable, "a node is slow")
	}
	from, _ := strconv.Atoi(req.GetStartingToken())
	answer := &csi.ListVolumesResponse{}
	for _, v := range l.volumes[from:min(from+2, len(l.volumes))] {
		answer.Entries = append(answer.Entries, &csi.ListVolumesResponse_Entry{Volume: v})
	}
	if from+2 < len(l.volumes) {
		answer.NextToken = strconv.Itoa(from + 2)
	}
	return answer, nil
}

func TestOrphansAreVolumesThatNobodyNames(t *testing.T) {
	l := &listed{volumes: []*csi.Volume{
		{VolumeId: "n1/a/one"}, {VolumeId: "n1/a/two"}, {VolumeId: "n1/a/inline", VolumeContext: map[string]string{volume.ContextEphemeral: "true"}},
		{VolumeId: "n2/a/one"}, {VolumeId: "n2/a/three"},
	}}
	socket := filepath.Join(shortDir(t), "s")
	s, err := driver.New(driver.Config{Endpoint: socket, Version: "test", Controller: l})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	known := func(handles ...string) func(context.Context) (map[string]bool, error) {
		return func(context.Context) (map[string]bool, error) {
			all := map[string]bool{"other-driver": true}
			for _, h := range handles {
				all[h] = true
			}
			return all, nil
		}
	}
	for _, c := range []struct{ known, want []string }{
		{nil, []string{"n1/a/one", "n1/a/two", "n2/a/one", "n2/a/three"}},
		{[]string{"n1/a/one", "n2/a/three"}, []string{"n1/a/two", "n2/a/one"}},
		{[]string{"n1/a/one", "n1/a/two", "n2/a/one", "n2/a/three", "n3/a/gone"}, nil},
	} {
		found, err := orphans(t.Context(), socket, known(c.known...))
		var got []string
		for _, v := range found {
			got = append(got, v.GetVolumeId())
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("with %v: %v, %v; want %v", c.known, got, err, c.want)
		}
	}
	broken := errors.New("the API does not answer")
	if _, err := orphans(t.Context(), socket, func(context.Context) (map[string]bool, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("an API that does not answer: %v", err)
	}
	l.fails = true
	if found, err := orphans(t.Context(), socket, known()); err == nil {
		t.Errorf("a list that is cut off: %v", found)
	}
}
