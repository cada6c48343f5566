package driver

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// Verbosities of the log. A call has its line at 0.
const (
	verboseRequest = 5 // the request of each call
	verboseQuiet   = 6 // calls that come all the time, or say the same each time, unless they fail
)

// logCalls writes one line for each call when it is answered. The logger in the context of a handler
// names the method and the volume already.
func logCalls(logger klog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		method, started := path.Base(info.FullMethod), time.Now()
		logger := logger.WithValues(append([]any{"method", method}, subject(req)...)...)
		if verbose := logger.V(verboseRequest); verbose.Enabled() {
			verbose.Info("request", "request", withoutSecrets(req))
		}
		resp, err := handler(klog.NewContext(ctx, logger), req)
		if err == nil && quiet(method) {
			logger = logger.V(verboseQuiet)
		}
		logEnd(logger.WithValues(made(resp)...), "call", started, status.Convert(err))
		return resp, err
	}
}

// logEnd writes the line that says how something ended. Only what nobody expected is an error in the
// log; that a name is busy or a pool full is for the caller to act on.
func logEnd(logger klog.Logger, what string, started time.Time, end *status.Status) {
	values := []any{"code", end.Code().String(), "seconds", time.Since(started).Round(100 * time.Microsecond).Seconds()}
	switch end.Code() {
	case codes.OK:
		logger.Info(what, values...)
	case codes.Internal, codes.Unknown, codes.DataLoss:
		logger.Error(errors.New(end.Message()), what, values...)
	default:
		logger.Info(what, append(values, "err", end.Message())...)
	}
}

func quiet(method string) bool {
	return strings.HasSuffix(method, "Capabilities") && method != "ValidateVolumeCapabilities" ||
		slices.Contains([]string{"Probe", "GetPluginInfo", "NodeGetInfo", "GetCapacity", "NodeGetVolumeStats", "ListInventory"}, method)
}

// subject returns what a request is about, as keys and values for the log.
func subject(req any) []any {
	var values []any
	add := func(key, value string) {
		if value != "" {
			values = append(values, key, oneLine(value, volume.MaxRequestNameBytes))
		}
	}
	if r, ok := req.(interface{ GetName() string }); ok {
		add("name", r.GetName())
	}
	if r, ok := req.(interface{ GetVolumeId() string }); ok {
		add("volume", r.GetVolumeId())
	}
	if r, ok := req.(interface{ GetSourceVolumeId() string }); ok {
		add("source", r.GetSourceVolumeId())
	}
	if r, ok := req.(interface{ GetSnapshotId() string }); ok {
		add("snapshot", r.GetSnapshotId())
	}
	if r, ok := req.(interface{ GetGroupSnapshotId() string }); ok {
		add("group", r.GetGroupSnapshotId())
	}
	return values
}

// made returns the handle of what a call has made, as subject does: it says on which node and in which pool
// that is, which the request does not.
func made(resp any) []any {
	key, handle := "", ""
	switch r := resp.(type) {
	case *csi.CreateVolumeResponse:
		key, handle = "volume", r.GetVolume().GetVolumeId()
	case *csi.CreateSnapshotResponse:
		key, handle = "snapshot", r.GetSnapshot().GetSnapshotId()
	case *csi.CreateVolumeGroupSnapshotResponse:
		key, handle = "group", r.GetGroupSnapshot().GetGroupSnapshotId()
	}
	if handle == "" {
		return nil
	}
	return []any{key, oneLine(handle, volume.MaxRequestNameBytes)}
}
