package driver

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"k8s.io/klog/v2/textlogger"

	"github.com/loam-storage/loam/driver/volume"
)

func TestCallsThatSayNothingNewAreQuietUnlessTheyFail(t *testing.T) {
	quietOnes := map[string]bool{"Probe": true, "GetPluginInfo": true, "GetPluginCapabilities": true, "ControllerGetCapabilities": true,
		"GroupControllerGetCapabilities": true, "NodeGetCapabilities": true, "NodeGetInfo": true, "GetCapacity": true, "NodeGetVolumeStats": true}
	for method, req := range requests(t) {
		for verbosity, want := range map[int]bool{0: !quietOnes[method], verboseQuiet - 1: !quietOnes[method], verboseQuiet: true} {
			if got := linesOf(t, method, req, verbosity, nil); (got == 1) != want || got > 1 {
				t.Errorf("%s has %d lines at verbosity %d", method, got, verbosity)
			}
		}
		if got := linesOf(t, method, req, 0, volume.Errorf(volume.InUse, "broken")); got != 1 {
			t.Errorf("%s that fails has %d lines", method, got)
		}
	}
}

func linesOf(t *testing.T, method string, req any, verbosity int, result error) int {
	t.Helper()
	var log logBuffer
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log), textlogger.Verbosity(verbosity)))
	_, err := logCalls(logger)(t.Context(), req, &grpc.UnaryServerInfo{FullMethod: "/x/" + method},
		func(context.Context, any) (any, error) { return nil, statusOf(req, result).Err() })
	if (err == nil) != (result == nil) {
		t.Errorf("%s ended with %v", method, err)
	}
	if requested := len(log.lines(`"request"`)); (requested == 1) != (verbosity >= verboseRequest) {
		t.Errorf("%s has %d lines of its request at verbosity %d", method, requested, verbosity)
	}
	return len(log.lines(`"call"`))
}
