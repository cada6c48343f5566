package driver

import (
	"context"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestAPanicIsAnErrorAndTheProcessLivesOn(t *testing.T) {
	s := &services{
		remove: func(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) { panic("of remove") },
		capacity: func(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
			var m map[string]int
			m["nil"] = 1 //nolint:staticcheck // the panic is what the test is about
			return nil, nil
		},
	}
	r := start(t, Config{Controller: s})
	for range 2 { // the second finds the name free
		_, err := r.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
		wantQuietPanic(t, err, "DeleteVolume", "of remove")
	}
	_, err := r.controller.GetCapacity(t.Context(), &csi.GetCapacityRequest{})
	wantQuietPanic(t, err, "GetCapacity", "nil map")
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	for text, times := range map[string]int{`panic="of remove"`: 2, `panic="assignment to entry in nil map"`: 1} {
		if lines := r.log.lines(text); len(lines) != times {
			t.Errorf("%d lines have %q:\n%s", len(lines), text, r.log)
		}
	}
	if lines := r.log.lines("recover_test.go"); len(lines) < 3 {
		t.Errorf("the stacks are not in the log:\n%s", r.log)
	}
}

func wantQuietPanic(t *testing.T, err error, method, thrown string) {
	t.Helper()
	wantCode(t, err, codes.Internal)
	message := status.Convert(err).Message()
	if !strings.Contains(message, method) || strings.Contains(message, thrown) || strings.Contains(message, "goroutine") || strings.Contains(message, ".go") {
		t.Errorf("the message is %q", message)
	}
}
