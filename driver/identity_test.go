package driver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/driver/volume"
)

func TestIdentity(t *testing.T) {
	r := start(t, Config{Version: "7.8.9"})
	plugin, err := r.identity.GetPluginInfo(t.Context(), &csi.GetPluginInfoRequest{})
	if err != nil || plugin.GetName() != "loam.storage" || plugin.GetVendorVersion() != "7.8.9" {
		t.Errorf("%v, %v", plugin, err)
	}
	resp, err := r.identity.GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range resp.GetCapabilities() {
		if s := c.GetService(); s != nil {
			got = append(got, s.GetType().String())
		}
		if e := c.GetVolumeExpansion(); e != nil {
			got = append(got, e.GetType().String())
		}
	}
	want := []string{"CONTROLLER_SERVICE", "VOLUME_ACCESSIBILITY_CONSTRAINTS", "GROUP_CONTROLLER_SERVICE", "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS", "ONLINE"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	_, err = r.controller.GetCapacity(t.Context(), &csi.GetCapacityRequest{})
	wantCode(t, err, codes.Unimplemented) // a service that is not configured
}

func TestProbeTellsReadiness(t *testing.T) {
	for _, c := range []struct {
		err   error
		ready bool
		code  codes.Code
	}{
		{nil, true, codes.OK},
		{volume.Errorf(volume.Unavailable, "still looking for pools"), false, codes.OK},
		{volume.Errorf(volume.NotFound, "pool %q is gone", "p1"), false, codes.FailedPrecondition},
		{errors.New("disk on fire"), false, codes.FailedPrecondition},
	} {
		r := start(t, Config{Ready: func(context.Context) error { return c.err }})
		resp, err := r.identity.Probe(t.Context(), &csi.ProbeRequest{})
		wantCode(t, err, c.code)
		if err == nil && (resp.GetReady() == nil || resp.GetReady().GetValue() != c.ready) {
			t.Errorf("%v makes it ready: %v", c.err, resp.GetReady())
		}
		if err != nil && !strings.Contains(err.Error(), c.err.Error()) {
			t.Errorf("%v does not say %v", err, c.err)
		}
	}
	always := &identity{}
	if resp, err := always.Probe(t.Context(), &csi.ProbeRequest{}); err != nil || !resp.GetReady().GetValue() {
		t.Errorf("without anybody to ask: %v, %v", resp, err)
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	gone := &identity{ready: func(ctx context.Context) error { return ctx.Err() }}
	if _, err := gone.Probe(left, &csi.ProbeRequest{}); !errors.Is(err, context.Canceled) || volume.Is(err, volume.InUse) {
		t.Errorf("a caller that has left: %v", err)
	}
}
