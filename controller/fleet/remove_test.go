package fleet_test

import (
	"errors"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/controller/fleet"
)

func TestWhatWasOnANodeThatIsGoneForGoodCanBeDeleted(t *testing.T) {
	known := &cluster{has: map[string]bool{"d": true}}
	f, _ := three(t, fleet.Config{Cluster: known})
	remove := func(handle string) error {
		_, err := f.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle})
		return err
	}
	if err := remove("d/default/v"); code(err) != codes.Unavailable {
		t.Errorf("a node that is only away: %v", err)
	}
	if err := remove("e/default/v"); err != nil {
		t.Errorf("a node that is gone: %v", err)
	}
	if _, err := f.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: "e/default/v", NodeId: "e"}); err != nil {
		t.Error(err)
	}
	if len(known.reported) != 2 {
		t.Errorf("reported: %q", known.reported)
	}
	known.err = errors.New("the API is away")
	if err := remove("e/default/v"); code(err) != codes.Unavailable {
		t.Errorf("a node of which nothing is known: %v", err)
	}
}
